//! `loyalty dead-letters replay`: rehearses, shows the plan, asks, sends, and tells what became of each.

use std::fmt::Write as _;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::SignedDuration;
use loyalty_common::amqp;
use loyalty_common::publisher::{Limits, Publisher};
use loyalty_operator::dry_run::{Prediction, rehearse};
use loyalty_operator::replay::{Canary, Ended, Pace, Progress, Replayer, Report};
use loyalty_store::Pool;
use loyalty_store::dead_letter::Reason;
use loyalty_store::letters::{self, LetterId, LetterState, Replayable};
use loyalty_store::permission::Permission;
use loyalty_store::pool::Use;

use super::plan::{Foreseen, each, summary};
use super::report::Told;
use super::selection::{Choice, Selection};
use crate::Context;
use crate::confirmation::Confirmation;
use crate::exit::ExitStatus;
use crate::service::stop_on_signal;

/// Send letters again, in the order of their arrival
///
/// Each goes as its publisher should have sent it, with the body of an `edit` if there is one, and keeps its command
/// id: however often a replay is cut short and repeated, nothing doubles. First everything is rehearsed against the
/// present state, in transactions that are rolled back; the plan says what would become of how many, and you are
/// asked. What would only come back as a dead letter is left as it is. Mails are queued anew.
///
/// Ctrl-C stops sending: what was not sent is open again, and what was sent gets its result. A broker that is away
/// does the same, with exit code 3. Exit code 1 if nothing could be sent, or not everything came to its end.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty dead-letters replay 17 18
  loyalty dead-letters replay --reason failed --since 12h --dry-run
  loyalty dead-letters replay --all --canary 20 --stop-at 5% --rate 50/s --note 'disk was full'")]
pub(super) struct Replay {
    #[command(flatten)]
    selection: Selection,
    /// Only say what would become of each; changes nothing
    #[arg(long)]
    dry_run: bool,
    /// At most so many per second
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<NonZeroU32>,
    /// Send so many first, wait for what becomes of them, and stop if too many fare badly
    #[arg(long, value_name = "N")]
    canary: Option<NonZeroUsize>,
    /// How many of the canary, in a hundred, may be anything but applied or known already
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = percent, requires = "canary")]
    stop_at: u8,
    /// How long to wait for results while none comes
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = patience)]
    wait: Duration,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Letters that nothing is decided about.
const OPEN: [LetterState; 2] = [LetterState::Open, LetterState::Replaying];

impl Replay {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(Use::Keys, 2).await?;
        let choice = self.selection.find(&pool, &OPEN).await?;
        let letters = letters::replayable(&pool, &choice.ids).await?;
        let foreseen = foresee(&pool, context, &letters).await?;
        let told = Told::new(&choice, &letters, foreseen);
        if self.dry_run {
            context.output.answer(&told, |told| told.rehearsed(&each(&told.foreseen)))?;
            return Ok((!told.foreseen.is_empty()).into());
        }
        let ids = told.worth_sending();
        if ids.is_empty() {
            context.output.answer(&told, Told::nothing_to_send)?;
            return Ok(ExitStatus::Failure);
        }
        let pace = self.pace();
        let plan = plan(&choice, &letters, &told.foreseen);
        // Asked before anybody is bothered: with a broker that is away nothing is claimed.
        let amqp_url = context.settings.amqp()?;
        amqp::close(&amqp::connect(&amqp_url, "replay").await?).await;
        let Some(permission) = self.confirmation.ask(&plan)? else {
            return Ok(ExitStatus::Failure);
        };
        let replayer = Replayer { pool, publisher: Publisher::start(amqp_url, "replay", Limits::default()), pace };
        let report = send(&replayer, &ids, &permission).await?;
        conclude(told, report, context)
    }

    fn pace(&self) -> Pace {
        let canary = self.canary.map(|letters| Canary { letters, stop_at_percent: self.stop_at });
        Pace { per_second: self.rate, canary, patience: self.wait }
    }
}

/// What each of the letters that nothing is decided about would come to.
async fn foresee(pool: &Pool, context: &Context, letters: &[Replayable]) -> anyhow::Result<Vec<Foreseen>> {
    let open: Vec<Replayable> = letters.iter().filter(|letter| OPEN.contains(&letter.state)).cloned().collect();
    let programme = context.settings.config()?.programme;
    let predictions = rehearse(pool, &programme, &open).await?;
    Ok(open.iter().zip(predictions).map(|(letter, prediction)| Foreseen::new(letter, prediction)).collect())
}

fn plan(choice: &Choice, letters: &[Replayable], foreseen: &[Foreseen]) -> String {
    let mut text = summary(foreseen);
    let sent = |letter: &&Replayable| {
        foreseen.iter().any(|it| {
            it.dead_letter_id == letter.dead_letter_id
                && it.prediction.is_worth_sending()
                && it.prediction != Prediction::Queued
        })
    };
    let crashed = letters.iter().filter(|letter| letter.reason == Reason::Crashed).filter(sent).count();
    if crashed > 0 {
        let _ = writeln!(text, "{crashed} of them ended their worker before, again and again; try one of them first");
    }
    let replaying = letters.iter().filter(|letter| letter.state == LetterState::Replaying).count();
    if replaying > 0 {
        let _ = writeln!(text, "{replaying} of them are being replayed by somebody, or were left by who did");
    }
    if choice.more {
        let _ = writeln!(text, "more match than these {}; repeat the command for the rest", choice.ids.len());
    }
    text
}

async fn send(replayer: &Replayer, ids: &[LetterId], permission: &Permission) -> anyhow::Result<Report> {
    let stop = stop_on_signal()?;
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} sent, {msg} done").expect("the template is valid");
    let bar = ProgressBar::new(ids.len() as u64).with_style(style);
    let mut told = |progress: Progress| {
        bar.set_length(progress.claimed as u64);
        bar.set_position(progress.sent as u64);
        bar.set_message(progress.concluded.to_string());
    };
    let report = replayer.run(ids, permission, &stop, &mut told).await;
    bar.finish_and_clear();
    Ok(report?)
}

fn conclude(told: Told, report: Report, context: &Context) -> anyhow::Result<ExitStatus> {
    let ended = report.ended.clone();
    let told = told.with(report);
    context.output.answer(&told, Told::replayed)?;
    match ended {
        Ended::Broker(error) => Err(error.into()),
        Ended::Finished | Ended::Stopped | Ended::CanaryFailed { .. } | Ended::CanaryUnanswered | Ended::Overtaken => {
            Ok((ended == Ended::Finished && told.came_to_their_ends()).into())
        }
    }
}

/// `50`, or `50/s`.
fn rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number.parse().map_err(|_| "must be a number of letters per second, such as 50/s".to_owned())
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
