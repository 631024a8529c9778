//! What a rebuild found and did.

use std::collections::HashSet;

use loyalty_common::MemberId;
use loyalty_common::email_address::mask;
use loyalty_store::StoreError;
use loyalty_store::rebuild::{Difference, Resolution};
use serde::Serialize;

use super::RebuildPlan;

/// Everything about a rebuild, or about the plan of one that was not carried out.
#[derive(Clone, Debug, Serialize)]
pub struct RebuildReport {
    /// How many members were looked at.
    pub examined: usize,
    /// Whether not everybody was looked at, because enough differed already.
    pub more: bool,
    /// How many members were repaired; none of a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repaired: Option<usize>,
    /// How many were to be repaired and were not come to.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_reached: usize,
    /// Before the repair, as found by the look; after it, as found under the locks.
    pub differences: Vec<Difference>,
    /// Whom the database refused to repair.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
}

/// A member whom the database refused to repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub member_id: MemberId,
    /// Why, without personal data.
    pub problem: String,
}

/// What was made of the members who were to be repaired.
#[derive(Debug, Default)]
pub(super) struct Repaired {
    /// As found under their locks: some may have been repaired by somebody else meanwhile.
    pub(super) differences: Vec<Difference>,
    pub(super) refused: Vec<Refused>,
    /// Members that were come to.
    pub(super) done: HashSet<MemberId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl From<RebuildPlan> for RebuildReport {
    fn from(RebuildPlan { examined, differences, more }: RebuildPlan) -> Self {
        Self { examined, more, repaired: None, not_reached: 0, differences, refused: Vec::new() }
    }
}

impl Refused {
    pub(super) fn new(member_id: &MemberId, error: &StoreError) -> Self {
        Self { member_id: member_id.clone(), problem: mask(&error.to_string()) }
    }
}

impl RebuildReport {
    /// `repairable` is how many members were to be repaired.
    pub(super) fn repaired(plan: &RebuildPlan, repaired: Repaired, repairable: usize) -> Self {
        // Of those whom nobody came to, what the look found still stands.
        let is_left = |it: &&Difference| it.resolution != Resolution::Repair && !repaired.done.contains(&it.member_id);
        let left = plan.differences.iter().filter(is_left).cloned();
        let mut differences: Vec<Difference> = repaired.differences.iter().cloned().chain(left).collect();
        differences.sort_by(|a, b| a.member_id.as_str().cmp(b.member_id.as_str()));
        Self {
            examined: plan.examined,
            more: plan.more,
            repaired: Some(members(repaired.differences.iter().filter(|it| it.resolution == Resolution::Repair))),
            not_reached: repairable - repaired.done.len(),
            differences,
            refused: repaired.refused,
        }
    }

    /// Whether nothing is left to be done or decided.
    pub fn is_all_repaired(&self) -> bool {
        !self.more
            && self.not_reached == 0
            && self.refused.is_empty()
            && self.differences.iter().all(|it| it.resolution == Resolution::Repair)
    }
}

/// How many members; their differences stand together.
pub fn members<'a>(differences: impl IntoIterator<Item = &'a Difference>) -> usize {
    let mut ids: Vec<&MemberId> = differences.into_iter().map(|it| &it.member_id).collect();
    ids.dedup();
    ids.len()
}
