//! Members, for an operator to look at: one with what happened last, or many in a list. No address is ever shown.

use loyalty_common::{MemberId, Receipt};
use loyalty_ledger::MemberStatus;
use loyalty_store::parked::{self, Parked};
use loyalty_store::read::{self, CurrentMember, Filter, Member, Reward};
use loyalty_store::rebuild::{self, Rebuilt};
use loyalty_store::{Pool, StoreError};
use serde::Serialize;

use crate::paging::pages;

/// A member with what happened last.
#[derive(Clone, Debug, Serialize)]
pub struct Details {
    /// How they stand now.
    #[serde(flatten)]
    pub current: CurrentMember,
    /// The latest first.
    pub rewards: Vec<Reward>,
    /// The end of the ledger, the latest last.
    pub ledger: Vec<Receipt>,
    /// What `rebuild` repaired of them, the first time first.
    pub rebuilt: Vec<Rebuilt>,
}

/// Somebody who is no member, though commands about them came.
#[derive(Clone, Debug, Serialize)]
pub struct Unenrolled {
    pub member_id: MemberId,
    status: MemberStatus,
    /// What an enrolment would apply, in this order.
    pub parked: Vec<Parked>,
}

/// What is known of a member's id.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Found {
    /// They are or were a member.
    Member(Box<Details>),
    /// They never were.
    Unenrolled(Unenrolled),
}

/// Looks a member up, with at most `limit` rewards and rows of the ledger. None, if nothing is known of them.
pub async fn find(pool: &Pool, member_id: &MemberId, limit: u32) -> Result<Option<Found>, StoreError> {
    let Some(current) = read::member(pool, member_id).await? else {
        return Ok(unenrolled(pool, member_id, limit).await?.map(Found::Unenrolled));
    };
    Ok(Some(Found::Member(Box::new(Details {
        rewards: read::rewards(pool, member_id, limit).await?,
        rebuilt: rebuild::history(pool, member_id).await?,
        ledger: read::ledger(pool, member_id, current.member.last_seq.saturating_sub(limit.into()), limit).await?,
        current,
    }))))
}

async fn unenrolled(pool: &Pool, member_id: &MemberId, limit: u32) -> Result<Option<Unenrolled>, StoreError> {
    let filter = parked::Filter { member: Some(member_id.clone()), ..parked::Filter::default() };
    let parked = parked::list(pool, &filter, 0, limit).await?;
    let (member_id, status) = (member_id.clone(), MemberStatus::Unenrolled);
    Ok((!parked.is_empty()).then_some(Unenrolled { member_id, status, parked }))
}

/// Those that a filter matches, in the order of their ids.
pub async fn list(pool: &Pool, filter: &Filter, limit: u32) -> Result<Vec<Member>, StoreError> {
    pages(limit, async |last: Option<&Member>, left| {
        read::members(pool, filter, last.map(|member| &member.member_id), left).await
    })
    .await
}
