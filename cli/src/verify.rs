//! `loyalty verify`: whether the database keeps every promise, and the rows that break one.

use std::fmt::Write as _;
use std::thread::available_parallelism;

use indicatif::{ProgressBar, ProgressStyle};
use loyalty_store::pool::PlannerProfile;
use loyalty_store::verify::{BalanceSheet, Finding, Report, refold_members, verify};

use crate::Context;
use crate::exit::ExitStatus;
use crate::output::{Column, grouped, table};

/// Check the database for broken promises, and list the rows that break one
///
/// Balances, lots, holds and debts against the ledger, places without a gap, rewards against what was earned, reversals
/// against what they undo, each reward's one email, and whether triggers and keys are still in place. Then the balance
/// sheet: where all points came from, and where they are or went. Reads one snapshot and changes nothing, so that it
/// may run beside workers. Exit code 1 if anything is broken, with the rows that are.
///
/// --deep also decides each row of the ledger again, by the programme that decided it then, on all cores.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty verify --json | jq '.checks[] | select(.broken > 0)'
  loyalty verify --json | jq .balance_sheet
  loyalty verify --deep")]
pub(crate) struct Verify {
    /// Decide every row of every member again
    #[arg(long)]
    deep: bool,
}

impl Verify {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(PlannerProfile::Queries, 1).await?;
        let mut report = verify(&pool, |name| {
            tracing::debug!(check = name, "Checking");
        })
        .await?;
        if self.deep {
            // What is checked of each member says how many there are.
            let members = report.checks.iter().find(|check| check.name == "balances").map_or(0, |check| check.examined);
            report.checks.push(deep(context, members.unsigned_abs()).await?);
        }
        context.output.answer(&report, text)?;
        Ok(report.is_clean().into())
    }
}

async fn deep(context: &Context, members: u64) -> anyhow::Result<Finding> {
    let cores = available_parallelism().map_or(1, Into::into);
    let pool = context.pool(PlannerProfile::Keys, cores).await?;
    let template = "{wide_bar} {human_pos} of {human_len} members, {per_sec}, {eta} to go";
    let style = ProgressStyle::with_template(template).expect("the template is valid");
    let bar = ProgressBar::new(members).with_style(style);
    let finding = refold_members(&pool, cores, |done| bar.set_position(done.unsigned_abs())).await;
    bar.finish_and_clear();
    Ok(finding?)
}

fn text(report: &Report) -> String {
    let mut text: String = report.checks.iter().map(finding).collect();
    for warning in &report.warnings {
        let _ = writeln!(text, "warning {}", warning.text);
    }
    let _ = writeln!(text, "\n{}\n", sheet(&report.balance_sheet));
    let broken: usize = report.checks.iter().filter(|finding| finding.broken > 0).count();
    let (all, verdict) = (report.checks.len(), if report.is_clean() { "nothing is broken" } else { "NOT clean" });
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

fn sheet(sheet: &BalanceSheet) -> String {
    let row = |source: &str, from: i128, used: &str, to: i128| [source.into(), grouped(from), used.into(), grouped(to)];
    let rows = [
        row("issued", sheet.issued, "to spend", sheet.points),
        row("reversed", -sheet.reversed, "held", sheet.held),
        row("owed", sheet.debt, "spent", sheet.spent),
        row("debt written off", sheet.written_off, "expired", sheet.expired),
        [String::new(), String::new(), "forfeited".into(), grouped(sheet.forfeited)],
        row("in all", sheet.sources(), "in all", sheet.uses()),
    ];
    let columns =
        [Column::Text("came from"), Column::Number("points"), Column::Text("are or went"), Column::Number("points")];
    let mut text = table(columns, rows);
    if !sheet.balances {
        let _ = write!(text, "\nBROKEN the two sides differ by {}", grouped(sheet.sources() - sheet.uses()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHEET: BalanceSheet = BalanceSheet {
        issued: 2_565,
        reversed: 700,
        debt: 400,
        written_off: 150,
        points: 65,
        held: 90,
        spent: 2_010,
        expired: 20,
        forfeited: 230,
        balances: true,
    };

    #[test]
    fn the_balance_sheet_stands_before_the_verdict_and_alone_can_break_it() {
        let report = |balance_sheet| Report { checks: Vec::new(), warnings: Vec::new(), balance_sheet };
        insta::assert_snapshot!(text(&report(SHEET)).trim_start(), @r"
        came from         points  are or went  points
        issued             2,565  to spend         65
        reversed            -700  held             90
        owed                 400  spent         2,010
        debt written off     150  expired          20
                                  forfeited       230
        in all             2,415  in all        2,415

        nothing is broken: 0 of 0 checks passed
        ");
        let uneven = text(&report(BalanceSheet { points: 64, balances: false, ..SHEET }));
        let end: Vec<_> = uneven.lines().rev().take(3).collect();
        assert_eq!(end, ["NOT clean: 0 of 0 checks passed", "", "BROKEN the two sides differ by 1"]);
    }
}
