//! Members recomputed from their ledgers: what differs, and its repair.
//!
//! The plan compares page by page. The repair goes member by member, under the lock that a worker takes, and looks
//! again there: workers may go on meanwhile. The ledger itself is never changed.

mod report;

use loyalty_common::MemberId;
use loyalty_store::rebuild::{self, Difference, Resolution, Selection};
use loyalty_store::{Pool, StoreError};
use tokio_util::sync::CancellationToken;

pub use report::{RebuildReport, Refused, members};

use crate::OperatorApproval;

/// The most members of one operation who differ: as many as are held in memory and shown. Where more differ, somebody
/// wants to see the first ones before all.
pub const MEMBERS_MAX: u32 = 10_000;

/// Members compared in one snapshot. Small enough for a moment, large enough that the way to the server is nothing.
const PAGE_MEMBERS: u32 = 500;

/// What differs between what is stored of members and what their ledgers say.
#[derive(Clone, Debug, Default)]
pub struct RebuildPlan {
    /// How many members were looked at.
    pub examined: usize,
    /// What differs, in the order of the members' ids.
    pub differences: Vec<Difference>,
    /// Whether there are members who were not looked at any more.
    pub more: bool,
}

impl RebuildPlan {
    /// Compares page after page, until `limit` members differ.
    pub async fn make(pool: &Pool, selection: &Selection, limit: u32) -> Result<Self, StoreError> {
        let mut plan = Self::default();
        let (mut after, mut differing) = (None, 0);
        loop {
            let page = rebuild::members(pool, selection, after.as_ref(), PAGE_MEMBERS).await?;
            let Some(last) = page.last() else {
                return Ok(plan);
            };
            after = Some(last.clone());
            plan.examined += page.len();
            for difference in rebuild::differences(pool, &page).await? {
                if plan.differences.last().is_none_or(|last| last.member_id != difference.member_id) {
                    differing += 1;
                }
                if differing > limit {
                    plan.more = true;
                    return Ok(plan);
                }
                plan.differences.push(difference);
            }
        }
    }

    /// The members of whom something can be repaired.
    pub fn repairable(&self) -> Vec<MemberId> {
        let repairable = self.differences.iter().filter(|it| it.resolution == Resolution::Repair);
        let mut members: Vec<MemberId> = repairable.map(|it| it.member_id.clone()).collect();
        members.dedup();
        members
    }

    /// Repairs one member after the other, until told to stop or the server goes away; what is done by then is done,
    /// and told. `reward` is the programme's: what a missing grant is of.
    pub async fn carry_out(
        &self,
        pool: &Pool,
        reward: &str,
        approval: &OperatorApproval,
        stop: &CancellationToken,
    ) -> (RebuildReport, Result<(), StoreError>) {
        let members = self.repairable();
        let mut repaired = report::Repaired::default();
        let mut ended = Ok(());
        for member_id in &members {
            if stop.is_cancelled() {
                break;
            }
            match rebuild::repair(pool, member_id, reward, approval).await {
                Ok(differences) => repaired.differences.extend(differences),
                Err(error) if error.is_content_refused() => repaired.refused.push(Refused::new(member_id, &error)),
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
            repaired.done.insert(member_id.clone());
        }
        (RebuildReport::repaired(self, repaired, members.len()), ended)
    }
}
