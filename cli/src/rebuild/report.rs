//! What a rebuild found and did, in words.

use std::fmt::Write as _;

use loyalty_operator::rebuild::{RebuildPlan, RebuildReport, Refused, members};
use loyalty_store::rebuild::{Difference, Field, Resolution, Value};

use crate::output::{Column, grouped, many, table};

/// Differences that a plan shows before it asks; a dry run shows all.
const PLAN_SHOWN: usize = 40;

/// What was compared, when nothing is changed.
pub(super) fn compared(report: &RebuildReport) -> String {
    let RebuildReport { examined, differences, more, .. } = report;
    match (examined, differences.len()) {
        (0, _) => "No members match".to_owned(),
        (examined, 0) => format!("{} examined, and nothing differs", many(*examined, "member")),
        (examined, all) => format!("{}\n{}", first(differences, all), sum(*examined, differences, *more)),
    }
}

/// What will be done, before it is asked for.
pub(super) fn plan(plan: &RebuildPlan, repairable: usize) -> String {
    let RebuildPlan { examined, differences, more } = plan;
    let all = differences.len();
    let shown = all.min(PLAN_SHOWN);
    let hidden = if all > shown { format!("\nand {} more; see --dry-run", all - shown) } else { String::new() };
    format!(
        "{}{hidden}\n{}\n{} to be repaired",
        first(differences, shown),
        sum(*examined, differences, *more),
        many(repairable, "member")
    )
}

pub(super) fn repaired(report: &RebuildReport) -> String {
    let mut text = String::new();
    let left: Vec<&Difference> = report.differences.iter().filter(|it| it.resolution != Resolution::Repair).collect();
    if !left.is_empty() {
        let _ = writeln!(text, "{}", listed(&left));
    }
    for Refused { member_id, problem } in &report.refused {
        let _ = writeln!(text, "{member_id}: not repaired: {problem}");
    }
    let _ = write!(text, "{} repaired", many(report.repaired.unwrap_or_default(), "member"));
    if !left.is_empty() {
        let _ = write!(text, ", {} left", many(left.len(), "difference"));
    }
    if report.not_reached > 0 {
        let _ = write!(text, "; {} not reached: repeat the command", many(report.not_reached, "member"));
    }
    if report.more {
        text += "\nmore may differ; repeat the command for the rest";
    }
    text
}

fn sum(examined: usize, differences: &[Difference], more: bool) -> String {
    let more = if more { "; not everybody was looked at" } else { "" };
    format!(
        "{} of {}; {} examined{more}",
        many(differences.len(), "difference"),
        many(members(differences), "member"),
        many(examined, "member")
    )
}

fn first(differences: &[Difference], shown: usize) -> String {
    listed(&differences.iter().take(shown).collect::<Vec<_>>())
}

fn listed(differences: &[&Difference]) -> String {
    let columns = [
        Column::Text("member"),
        Column::Text("what"),
        Column::Number("stored"),
        Column::Number("by the ledger"),
        Column::Text("a rebuild"),
    ];
    let rows = differences.iter().map(|it| {
        [it.member_id.to_string(), what(it), value(&it.stored), value(&it.computed), resolution(it).to_owned()]
    });
    table(columns, rows)
}

fn what(difference: &Difference) -> String {
    let words = difference.what.as_str().replace('_', " ");
    let which = difference.which.as_ref().map(|which| format!(" {which}")).unwrap_or_default();
    let of = difference.epoch.map(|epoch| format!(", membership {epoch}")).unwrap_or_default();
    format!("{words}{which}{of}")
}

fn value(value: &Value) -> String {
    match value {
        Value::Number(number) => grouped(*number),
        Value::Status(_) | Value::Time(_) | Value::Day(_) | Value::Hold(_) | Value::Nothing => value.to_string(),
    }
}

const fn resolution(difference: &Difference) -> &'static str {
    match (difference.resolution, difference.what) {
        (Resolution::Repair, Field::Grants) => "grants what is missing, with its email",
        (Resolution::Repair, _) => "repairs it",
        (Resolution::EmailMayBeOut, _) => "leaves it: an email may be out",
        (Resolution::MilestoneInDoubt, _) => "leaves it: is the milestone right?",
        (Resolution::LedgerInDoubt, _) => "leaves it: the ledger contradicts itself",
    }
}
