//! What a rebuild found and did, for a program and for a person.

use std::fmt::Write as _;

use loyalty_common::MemberId;
use loyalty_store::rebuild::{Difference, Part, Remedy, Value};
use serde::Serialize;

use super::{Looked, Mended};
use crate::output::{Column, grouped, many, table};

/// Differences that a plan shows before it asks; a dry run shows all.
const PLAN_SHOWN: usize = 40;

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    examined: usize,
    /// Whether not everybody was looked at, because enough differed already.
    more: bool,
    /// How many members were mended; none of a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    mended: Option<usize>,
    /// How many were to be mended and were not come to.
    #[serde(skip_serializing_if = "is_zero")]
    not_reached: usize,
    /// Before mending, as found by the look; after it, as found under the locks.
    differences: Vec<Difference>,
    /// Whom the database refused to mend.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Refused>,
}

#[derive(Debug, Serialize)]
struct Refused {
    member_id: MemberId,
    problem: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Told {
    pub(super) fn found(looked: Looked) -> Self {
        let Looked { examined, differences, more } = looked;
        Self { examined, more, mended: None, not_reached: 0, differences, refused: Vec::new() }
    }

    /// `mendable` is how many members were to be mended.
    pub(super) fn mended(looked: &Looked, mended: Mended, mendable: usize) -> Self {
        let refused = |(member_id, error): (MemberId, loyalty_store::StoreError)| Refused {
            member_id,
            problem: loyalty_common::text::mask(&error.to_string()),
        };
        // Of those whom nobody came to, what the look found still stands.
        let is_left = |it: &&Difference| it.remedy != Remedy::Mend && !mended.done.contains(&it.member_id);
        let left = looked.differences.iter().filter(is_left).cloned();
        let mut differences: Vec<Difference> = mended.differences.iter().cloned().chain(left).collect();
        differences.sort_by(|a, b| a.member_id.as_str().cmp(b.member_id.as_str()));
        Self {
            examined: looked.examined,
            more: looked.more,
            mended: Some(members(mended.differences.iter().filter(|it| it.remedy == Remedy::Mend))),
            not_reached: mendable - mended.done.len(),
            differences,
            refused: mended.refused.into_iter().map(refused).collect(),
        }
    }

    /// Whether nothing is left to be done or decided.
    pub(super) fn is_all_mended(&self) -> bool {
        !self.more
            && self.not_reached == 0
            && self.refused.is_empty()
            && self.differences.iter().all(|it| it.remedy == Remedy::Mend)
    }

    /// What was compared, when nothing is changed.
    pub(super) fn compared(&self) -> String {
        match (self.examined, self.differences.len()) {
            (0, _) => "No members match".to_owned(),
            (examined, 0) => format!("{} examined, and nothing differs", many(examined, "member")),
            (_, all) => format!("{}\n{}", self.differences_table(all), self.sum()),
        }
    }

    /// What will be done, before it is asked for.
    pub(super) fn plan(&self, mendable: usize) -> String {
        let all = self.differences.len();
        let shown = all.min(PLAN_SHOWN);
        let hidden = if all > shown { format!("\nand {} more; see --dry-run", all - shown) } else { String::new() };
        format!("{}{hidden}\n{}\n{} to be mended", self.differences_table(shown), self.sum(), many(mendable, "member"))
    }

    /// What was done.
    pub(super) fn done(&self) -> String {
        let mut text = String::new();
        let left: Vec<&Difference> = self.differences.iter().filter(|it| it.remedy != Remedy::Mend).collect();
        if !left.is_empty() {
            let _ = writeln!(text, "{}", listed(&left));
        }
        for Refused { member_id, problem } in &self.refused {
            let _ = writeln!(text, "{member_id}: not mended: {problem}");
        }
        let _ = write!(text, "{} mended", many(self.mended.unwrap_or_default(), "member"));
        if !left.is_empty() {
            let _ = write!(text, ", {} left", many(left.len(), "difference"));
        }
        if self.not_reached > 0 {
            let _ = write!(text, "; {} not reached: repeat the command", many(self.not_reached, "member"));
        }
        if self.more {
            text += "\nmore may differ; repeat the command for the rest";
        }
        text
    }

    fn sum(&self) -> String {
        let more = if self.more { "; not everybody was looked at" } else { "" };
        format!(
            "{} of {}; {} examined{more}",
            many(self.differences.len(), "difference"),
            many(members(&self.differences), "member"),
            many(self.examined, "member")
        )
    }

    fn differences_table(&self, shown: usize) -> String {
        listed(&self.differences.iter().take(shown).collect::<Vec<_>>())
    }
}

fn listed(differences: &[&Difference]) -> String {
    let columns = [
        Column::Text("member"),
        Column::Text("what"),
        Column::Number("stored"),
        Column::Number("by the ledger"),
        Column::Text("a rebuild"),
    ];
    let rows = differences
        .iter()
        .map(|it| [it.member_id.to_string(), what(it), value(it.stored), value(it.computed), remedy(it).to_owned()]);
    table(columns, rows)
}

fn what(difference: &Difference) -> String {
    match (difference.what, difference.epoch) {
        (part, None) => part.to_string(),
        (Part::GrantsTooMany, Some(epoch)) => format!("grants too many, membership {epoch}"),
        (part, Some(epoch)) => format!("{part}, membership {epoch}"),
    }
}

fn value(value: Value) -> String {
    match value {
        Value::Number(number) => grouped(number),
        Value::Status(status) => status.to_string(),
    }
}

const fn remedy(difference: &Difference) -> &'static str {
    match (difference.remedy, difference.what) {
        (Remedy::Mend, Part::Grants) => "grants what is missing, with its mail",
        (Remedy::Mend, _) => "mends it",
        (Remedy::MailMayBeOut, _) => "leaves it: a mail may be out",
        (Remedy::MilestoneInDoubt, _) => "leaves it: is the milestone right?",
        (Remedy::LedgerInDoubt, _) => "leaves it: the ledger contradicts itself",
    }
}

/// How many members; their differences stand together.
fn members<'a>(differences: impl IntoIterator<Item = &'a Difference>) -> usize {
    let mut ids: Vec<&MemberId> = differences.into_iter().map(|it| &it.member_id).collect();
    ids.dedup();
    ids.len()
}
