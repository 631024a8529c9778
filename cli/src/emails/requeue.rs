//! `loyalty emails retry` and `resend-unknown`: queues emails again, after showing the plan and asking.

use std::fmt::Write as _;

use loyalty_operator::emails::{EMAILS_MAX, Left, RequeuePlan, RequeueReport, Selection};
use loyalty_store::emails::{EmailId, EmailState, Requeue};
use loyalty_store::pool::PlannerProfile;

use super::filter::{FilterArgs, email_id};
use crate::Context;
use crate::confirmation::Confirmation;
use crate::exit::{ExitStatus, Usage};
use crate::output::many;

/// Queue again the emails that were not sent
///
/// Those that are dead, or wait for their next attempt; each starts its retries over. The dead letters of these
/// emails are settled with them. The outbox takes them to the mailers within seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty emails retry --state dead --since 12h --note 'the mail server is back'")]
pub(super) struct Retry {
    #[command(flatten)]
    emails: Emails,
}

/// Send again the emails whose delivery is unknown
///
/// They were given to the mail server, and its answer was lost. Some may have arrived: their members get them twice,
/// under the same Message-ID, by which many mail programs show them once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty emails resend-unknown --all --note 'the mail server had lost its queue'")]
pub(super) struct ResendUnknown {
    #[command(flatten)]
    emails: Emails,
}

/// Which emails, and leave to do it.
#[derive(Debug, clap::Args)]
struct Emails {
    /// The ids of the emails
    #[arg(value_name = "ID", value_parser = email_id)]
    ids: Vec<EmailId>,
    /// All eligible emails
    #[arg(long)]
    all: bool,
    /// At most this many, the oldest first
    #[arg(long, value_name = "N", default_value_t = EMAILS_MAX)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(EMAILS_MAX)))]
    limit: u32,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    confirmation: Confirmation,
}

impl Retry {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        // A queued email needs it only when its queue was lost: then it is named, or its state is.
        self.emails.run(Requeue::Retry, &[EmailState::Dead, EmailState::Retrying], context).await
    }
}

impl ResendUnknown {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        self.emails.run(Requeue::ResendUnknown, &[EmailState::Unknown], context).await
    }
}

impl Emails {
    async fn run(self, what: Requeue, usual: &[EmailState], context: &Context) -> anyhow::Result<ExitStatus> {
        let selection = self.selection(usual)?;
        let pool = context.pool(PlannerProfile::Queries, 1).await?;
        let plan = RequeuePlan::make(&pool, selection, what).await?;
        let report = if plan.is_empty() {
            plan.nothing_done()
        } else {
            let Some(approval) = self.confirmation.ask(&text_of_plan(&plan, what))? else {
                return Ok(ExitStatus::Failure);
            };
            plan.carry_out(&pool, &approval).await?
        };
        context.output.answer(&report, text)?;
        Ok(report.is_success().into())
    }

    fn selection(&self, usual: &[EmailState]) -> Result<Selection, Usage> {
        match (self.ids.is_empty(), self.all || !self.filter.is_empty()) {
            (false, true) => Err(Usage("give the ids of emails, or a filter, not both".to_owned())),
            (true, false) => {
                Err(Usage("which emails? Give their ids, a filter such as --since 12h, or --all".to_owned()))
            }
            (false, false) => Ok(Selection::Ids(self.ids.clone())),
            (true, true) => Ok(Selection::Matching(self.filter.emails(usual), self.limit)),
        }
    }
}

fn text_of_plan(plan: &RequeuePlan, what: Requeue) -> String {
    let all: usize = plan.counts.values().sum();
    let parts: Vec<String> = plan.counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let twice = match what {
        Requeue::Retry => "",
        Requeue::ResendUnknown => "\nthose that have arrived will arrive twice",
    };
    format!("{} to be queued: {}{twice}", many(all, "email"), parts.join(", "))
}

fn text(report: &RequeueReport) -> String {
    if report.queued.is_empty() && report.left.is_empty() && report.missing.is_empty() {
        return "No emails match".to_owned();
    }
    let mut text = format!("{} queued\n", many(report.queued.len(), "email"));
    for Left { email_id, state } in &report.left {
        let _ = writeln!(text, "{email_id}: {state}; left as it is");
    }
    for id in &report.missing {
        let _ = writeln!(text, "{id}: no such email");
    }
    text
}
