//! `loyalty dead-letters replay`: tries it first, shows the plan, asks, sends, and tells what became of each.

use std::fmt::Write as _;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::SignedDuration;
use loyalty_common::amqp;
use loyalty_common::publisher::{Limits, Publisher};
use loyalty_operator::OperatorApproval;
use loyalty_operator::dead_letters::{ReplayPlan, ReplayReport, UNDECIDED};
use loyalty_operator::replay::{Canary, Ended, Pace, Progress, Replayer};
use loyalty_store::pool::PlannerProfile;

use super::plan::{each, summary};
use super::report;
use super::selection::Selection;
use crate::Context;
use crate::confirmation::Confirmation;
use crate::exit::ExitStatus;
use crate::shutdown_signal::stop_on_signal;

/// Send dead letters again, in the order of their arrival
///
/// Each goes as its publisher should have sent it, with the body of an `edit` if there is one, and keeps its command
/// id: however often a replay is cut short and repeated, nothing doubles. First everything is tried against the
/// present state, in transactions that are rolled back; the plan says what would become of how many, and you are
/// asked. What would be a dead letter again is left as it is. Emails are queued again.
///
/// Ctrl-C stops sending: what was not sent is open again, and what was sent gets its result. A broker that is away
/// does the same, with exit code 3. Exit code 1 if nothing could be sent, or not everything came to its end; of
/// --dry-run, if what was named is not there or decided already. A filter that matches nothing leaves nothing to try: 0.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty dead-letters replay 17 18
  loyalty dead-letters replay --reason failed --since 12h --dry-run
  loyalty dead-letters replay --all --canary 20 --stop-at 5% --rate 50/s --note 'disk was full'")]
pub(super) struct Replay {
    #[command(flatten)]
    selection: Selection,
    /// Only predict each outcome; change nothing
    #[arg(long)]
    dry_run: bool,
    /// At most this many per second
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<NonZeroU32>,
    /// Send this many first, wait for their outcomes, and stop if too many fail
    #[arg(long, value_name = "N")]
    canary: Option<NonZeroUsize>,
    /// Percentage of the canary that may end otherwise than applied or already known
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = percent, requires = "canary")]
    stop_at: u8,
    /// How long to wait for results while none comes
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = patience)]
    wait: Duration,
    #[command(flatten)]
    confirmation: Confirmation,
}

impl Replay {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(PlannerProfile::Keys, 2).await?;
        let selected = self.selection.find(&pool, &UNDECIDED).await?;
        let plan = ReplayPlan::make(&pool, &context.settings.config()?.programme, &selected).await?;
        if self.dry_run {
            let is_success = !plan.predicted.is_empty() || plan.matches_nothing();
            context.output.answer(&ReplayReport::from(plan), |it| report::dry_run(it, &each(&it.plan.predicted)))?;
            return Ok(is_success.into());
        }
        if plan.worth_sending().is_empty() {
            context.output.answer(&ReplayReport::from(plan), report::nothing_to_send)?;
            return Ok(ExitStatus::Failure);
        }
        // Asked before anybody is bothered: with a broker that is away nothing is claimed.
        let amqp_url = context.settings.amqp()?;
        amqp::close(&amqp::connect(&amqp_url, "replay").await?).await;
        let pace = self.pace();
        let Some(approval) = self.confirmation.ask(&text_of(&plan))? else {
            return Ok(ExitStatus::Failure);
        };
        let replayer = Replayer { pool, publisher: Publisher::start(amqp_url, "replay", Limits::default()), pace };
        let report = send(&replayer, plan, &approval).await?;
        context.output.answer(&report, report::replayed)?;
        status(report)
    }

    fn pace(&self) -> Pace {
        let canary = self.canary.map(|dead_letters| Canary { dead_letters, stop_at_percent: self.stop_at });
        Pace { per_second: self.rate, canary, patience: self.wait }
    }
}

fn text_of(plan: &ReplayPlan) -> String {
    let mut text = summary(&plan.predicted);
    if plan.crashed > 0 {
        let _ = writeln!(text, "{} of them crashed their worker before; replay one of them first", plan.crashed);
    }
    if plan.replaying > 0 {
        let _ = writeln!(text, "{} of them are held by another replay, or by one that was cut short", plan.replaying);
    }
    if plan.more {
        let looked_at = plan.predicted.len() + plan.done.len() + plan.missing.len();
        let _ = writeln!(text, "more match than these {looked_at}; repeat the command for the rest");
    }
    text
}

async fn send(replayer: &Replayer, plan: ReplayPlan, approval: &OperatorApproval) -> anyhow::Result<ReplayReport> {
    let stop = stop_on_signal()?;
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} sent, {msg} done").expect("the template is valid");
    let bar = ProgressBar::new(plan.worth_sending().len() as u64).with_style(style);
    let mut told = |progress: Progress| {
        bar.set_length(progress.claimed as u64);
        bar.set_position(progress.sent as u64);
        bar.set_message(progress.concluded.to_string());
    };
    let report = plan.carry_out(replayer, approval, &stop, &mut told).await;
    bar.finish_and_clear();
    Ok(report?)
}

/// A broker that went away is an error of its own, which may be gone when the command is repeated.
fn status(report: ReplayReport) -> anyhow::Result<ExitStatus> {
    let is_success = report.is_success();
    match report.ended {
        Some(Ended::Broker(error)) => Err(error.into()),
        Some(
            Ended::Finished
            | Ended::NothingSent
            | Ended::Stopped
            | Ended::CanaryFailed { .. }
            | Ended::CanaryUnanswered
            | Ended::Overtaken,
        )
        | None => Ok(is_success.into()),
    }
}

/// `50`, or `50/s`.
fn rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number.parse().map_err(|_| "must be a number of dead letters per second, such as 50/s".to_owned())
}

/// `10`, or `10%`.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|percent| *percent <= 100);
    number.ok_or_else(|| "must be 0% to 100%".to_owned())
}

fn patience(text: &str) -> Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    time.ok_or_else(|| "must be a time such as 30s or 5m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paces_and_shares_are_read_as_people_write_them() {
        assert_eq!(rate("50/s").map(NonZeroU32::get), Ok(50));
        assert_eq!(rate("50").map(NonZeroU32::get), Ok(50));
        assert!(rate("0/s").is_err() && rate("fast").is_err() && rate("50/m").is_err());
        assert_eq!((percent("10%"), percent("0"), percent("100%")), (Ok(10), Ok(0), Ok(100)));
        assert!(percent("101%").is_err() && percent("-1").is_err() && percent("").is_err());
        assert_eq!(patience("2m"), Ok(Duration::from_secs(120)));
        assert!(patience("-1s").is_err() && patience("soon").is_err());
    }
}
