//! `loyalty rebuild`: members computed again from their ledgers. Shows each difference, asks, and repairs.

mod condition;
mod report;

use loyalty_operator::rebuild::{MEMBERS_MAX, RebuildPlan, RebuildReport};
use loyalty_store::pool::PlannerProfile;
use loyalty_store::rebuild::Selection;

use crate::Context;
use crate::confirmation::Confirmation;
use crate::exit::ExitStatus;
use crate::shutdown_signal::stop_on_signal;

/// Recompute members from the ledger, and repair what differs
///
/// Points, lots, open holds, debt, lifetime points, membership, status, place in the ledger, time and rewards of each
/// member are computed from the ledger and compared with what is stored. Each difference is shown, and after a yes it
/// is repaired, member by member, under the lock that a worker takes, where it is looked at again: workers may go on
/// meanwhile. A grant that is missing is granted, with its email. One that was not earned is shown and left, since its
/// email may be out. The ledger itself is never changed.
///
/// --where selects members by what is stored of them, so a wrong row may hide from it; without it all are looked at.
/// Exit code 1 if --dry-run finds anything, if something is left as it is, or if nobody matches.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty rebuild --dry-run
  loyalty rebuild --where 'points >= 1000 and status = active' --dry-run
  loyalty rebuild --where 'member = ann' --note 'support case 4711'

Conditions: FIELD COMPARISON VALUE, joined by `and`.
  fields       member, status, points, lifetime_points, epoch, enrolled_at
  comparisons  = != < <= > >=; for status = and !=
  values       a word, or anything in single quotes; a time is a day (2026-11-22), a time
               (2026-11-22T10:00:00Z) or how long ago (3d)")]
pub(crate) struct Rebuild {
    /// Which members; all of them without it
    #[arg(long = "where", value_name = "CONDITIONS", value_parser = condition::selection)]
    selection: Option<Selection>,
    /// Only report the differences; change nothing
    #[arg(long)]
    dry_run: bool,
    /// At most this many members with differences
    #[arg(long, value_name = "N", default_value_t = MEMBERS_MAX)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MEMBERS_MAX)))]
    limit: u32,
    #[command(flatten)]
    confirmation: Confirmation,
}

impl Rebuild {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(PlannerProfile::Keys, 2).await?;
        let reward = context.settings.config()?.programme.reward;
        let selection = self.selection.unwrap_or_default();
        let plan = RebuildPlan::make(&pool, &selection, self.limit).await?;
        let repairable = plan.repairable().len();
        if self.dry_run || repairable == 0 {
            let is_sound = plan.differences.is_empty() && (plan.examined > 0 || selection.0.is_empty());
            context.output.answer(&RebuildReport::from(plan), report::compared)?;
            return Ok(is_sound.into());
        }
        let Some(approval) = self.confirmation.ask(&report::plan(&plan, repairable))? else {
            return Ok(ExitStatus::Failure);
        };
        let (report, ended) = plan.carry_out(&pool, &reward, &approval, &stop_on_signal()?).await;
        context.output.answer(&report, report::repaired)?;
        ended?;
        Ok(report.is_all_repaired().into())
    }
}
