//! `loyalty dead-letters discard`: shows the plan, asks, and tells what was discarded and erased.

use std::fmt::Write as _;

use loyalty_operator::dead_letters::{DiscardPlan, DiscardReport, Disposal};
use loyalty_store::dead_letters::DeadLetterState;
use loyalty_store::pool::PlannerProfile;

use super::selection::Selection;
use crate::Context;
use crate::confirmation::Confirmation;
use crate::exit::{ExitStatus, Usage};

/// Decide that dead letters will not be sent again
///
/// They are kept, with who decided it, when and why (--note), and no list shows them unless it is asked to.
/// With --erase, their bodies, headers and routing keys are gone for good, of those discarded or replayed before too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  loyalty dead-letters discard --reason malformed --until 2026-11-22T08:00:00Z --note 'a partner tested in production'
  loyalty dead-letters discard --erase --member ann --state any --note 'ann left'")]
pub(super) struct Discard {
    #[command(flatten)]
    selection: Selection,
    /// Erase what the sender wrote: body, edited body, headers and routing key
    #[arg(long)]
    erase: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

impl Discard {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        if !self.confirmation.has_note() {
            return Err(Usage("give the reason with --note: it is kept in the history".to_owned()).into());
        }
        let pool = context.pool(PlannerProfile::Keys, 1).await?;
        let selected = self.selection.find(&pool, &[DeadLetterState::Open]).await?;
        let disposal = if self.erase { Disposal::Erase } else { Disposal::Keep };
        let plan = DiscardPlan::make(&pool, selected, disposal).await?;
        let report = if plan.is_empty() {
            plan.nothing_done()
        } else {
            let Some(approval) = self.confirmation.ask(&text_of_plan(&plan))? else {
                return Ok(ExitStatus::Failure);
            };
            plan.carry_out(&pool, &approval).await?
        };
        context.output.answer(&report, text)?;
        Ok(report.is_success().into())
    }
}

fn text_of_plan(plan: &DiscardPlan) -> String {
    let parts: Vec<String> = plan.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let all: usize = plan.reasons.values().sum();
    let more = if plan.more() { "\nmore match than these; repeat the command for the rest" } else { "" };
    let what = match plan.disposal {
        Disposal::Keep => "discarded",
        Disposal::Erase => "discarded and erased for good",
    };
    format!("{all} to be {what}: {}{more}", parts.join(", "))
}

fn text(report: &DiscardReport) -> String {
    let DiscardReport { discarded, erased, left, missing } = report;
    if [discarded, erased, left, missing].iter().all(|ids| ids.is_empty()) {
        return "No dead letters match".to_owned();
    }
    let mut text = format!("{} discarded\n", discarded.len());
    if !erased.is_empty() {
        let _ = writeln!(text, "{} erased", erased.len());
    }
    for id in left {
        let _ = writeln!(text, "{id}: not open, or erased already; left as it is");
    }
    for id in missing {
        let _ = writeln!(text, "{id}: no such dead letter");
    }
    text
}
