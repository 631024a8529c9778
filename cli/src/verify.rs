//! `loyalty verify`: whether the database keeps every promise, and the rows that break one.

use std::fmt::Write as _;

use loyalty_store::pool::PlannerProfile;
use loyalty_store::verify::{Finding, Report, verify};

use crate::Context;
use crate::exit::ExitStatus;
use crate::output::grouped;

/// Check the database for broken promises, and list the rows that break one
///
/// Balances against the ledger, places without a gap, rewards against what was earned, each reward's one email, and
/// whether triggers and keys are still in place. Reads one snapshot and changes nothing, so that it may run beside
/// workers. Exit code 1 if anything is broken, with the rows that are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty verify --json | jq '.checks[] | select(.broken > 0)'")]
pub(crate) struct Verify {}

impl Verify {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(PlannerProfile::Queries, 1).await?;
        let report = verify(&pool, |name| {
            tracing::debug!(check = name, "Checking");
        })
        .await?;
        context.output.answer(&report, text)?;
        Ok(report.is_clean().into())
    }
}

fn text(report: &Report) -> String {
    let mut text: String = report.checks.iter().map(finding).collect();
    let broken: usize = report.checks.iter().filter(|finding| finding.broken > 0).count();
    let (all, verdict) = (report.checks.len(), if broken == 0 { "nothing is broken" } else { "NOT clean" });
    let _ = write!(text, "{verdict}: {} of {all} checks passed", all - broken);
    text
}

fn finding(finding: &Finding) -> String {
    let mark = if finding.broken == 0 { "ok    " } else { "BROKEN" };
    let mut text = format!("{mark} {} ({} examined)\n", finding.promise, grouped(finding.examined));
    for example in &finding.examples {
        let _ = writeln!(text, "         {}: {}", example.subject, example.problem);
    }
    let shown = i64::try_from(finding.examples.len()).unwrap_or(i64::MAX);
    if finding.broken > shown {
        let _ = writeln!(text, "         and {} more", grouped(finding.broken - shown));
    }
    text
}
