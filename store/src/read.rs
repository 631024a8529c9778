//! What people and programs ask: a member, a receipt, a ledger, the outcomes of commands. Reads only.
//!
//! Every list is bounded and continues after the last key that was seen, so that a page costs the same however far
//! down it is. Somebody who was never enrolled is no member, even if commands wait for them. No address is returned.

use jiff::Timestamp;
use jiff::civil::Date;
use loyalty_common::MemberId;
use loyalty_common::partition::PARTITIONS;
use loyalty_ledger::MemberStatus;
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::PAGE_MAX;
use crate::member_row::member_id;
use crate::pool::{Pool, StoreError};

mod command_states;
mod current;
mod receipts;
mod rewards;

pub use command_states::{CommandState, command_states};
pub use current::{CurrentMember, ExpiringPoints, OpenHold, member};
pub use receipts::{ledger, receipt};
pub use rewards::{MembershipReward, Reward, RewardEmail, membership_rewards, rewards};

/// A member as others may see them; in lists, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    pub member_id: MemberId,
    /// Active, exited or terminated.
    pub status: MemberStatus,
    /// Points to spend.
    pub balance: i64,
    /// Points that open holds set aside.
    pub held: i64,
    /// Points taken back that were spent already; whatever comes in pays it first.
    pub debt: i64,
    /// Points earned in this membership; spending does not lower it.
    pub lifetime: i64,
    /// The member's time: what was due by then has happened.
    pub as_of: Option<Timestamp>,
    /// Which membership this is: 1 for the first.
    pub epoch: i32,
    /// Lifetime points for each reward of this membership; none: no rewards.
    pub milestone: Option<i64>,
    /// Whether the member gets emails: an address is known.
    pub has_email: bool,
    /// The seq of the last ledger row.
    pub last_seq: i64,
    /// When this membership began.
    pub enrolled_at: Option<Timestamp>,
    /// When a command changed anything last.
    pub updated_at: Timestamp,
}

/// Which members to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those with at least this balance.
    pub points_min: Option<i64>,
    /// Only those who stand here.
    pub status: Option<MemberStatus>,
    /// Only those with points whose last day is before this one.
    pub expiring_before: Option<Date>,
}

const MEMBER: &str = "
    select member_id, status, balance, held, debt, lifetime, peak, as_of, due_at, epoch, milestone,
           email is not null as has_email, last_seq, enrolled_at, updated_at
    from member where status <> 'unenrolled'";

/// A page of members in the order of their ids, beginning after `after`. Put together from a page of each partition, so
/// that the members' key serves it.
pub async fn members(
    pool: &Pool,
    filter: &Filter,
    after: Option<&MemberId>,
    limit: u32,
) -> Result<Vec<Member>, StoreError> {
    let after = after.map_or("", MemberId::as_str); // Every id sorts after the empty text.
    let page_of_one =
        format!("{MEMBER} and partition = p.number and {FILTER} and member_id > $4 order by member_id limit $5");
    let query = format!(
        "select of_one.* from generate_series(0, {LAST}) as p (number) cross join lateral ({page_of_one}) as of_one
         order by member_id limit $5",
        LAST = PARTITIONS - 1
    );
    let Filter { points_min, expiring_before, .. } = filter;
    let values: [&(dyn ToSql + Sync); 5] = [&filter.status(), points_min, expiring_before, &after, &page(limit)];
    let rows = pool.get().await?.query(&query, &values).await?;
    rows.iter().map(read_member).collect()
}

/// The members with the most points, most first.
pub async fn top_members(pool: &Pool, filter: &Filter, limit: u32) -> Result<Vec<Member>, StoreError> {
    let query = format!("{MEMBER} and {FILTER} order by balance desc, member_id limit $4");
    let Filter { points_min, expiring_before, .. } = filter;
    let values: [&(dyn ToSql + Sync); 4] = [&filter.status(), points_min, expiring_before, &page(limit)];
    let rows = pool.get().await?.query(&query, &values).await?;
    rows.iter().map(read_member).collect()
}

const FILTER: &str = "
    ($1::text is null or status = $1) and ($2::bigint is null or balance >= $2)
    and ($3::date is null or due_at is not null and exists (
        select from lot where lot.partition = member.partition and lot.member_id = member.member_id
                          and lot.epoch = member.epoch and remaining > 0 and expires_on < $3))";

impl Filter {
    fn status(&self) -> Option<&'static str> {
        self.status.map(MemberStatus::as_str)
    }
}

fn page(limit: u32) -> i64 {
    i64::from(limit.min(PAGE_MAX))
}

fn read_member(row: &Row) -> Result<Member, StoreError> {
    Ok(Member {
        member_id: member_id(row)?,
        status: MemberStatus::parse(row.get("status"))
            .ok_or(StoreError::UnexpectedValue { column: "member.status" })?,
        balance: row.get("balance"),
        held: row.get("held"),
        debt: row.get("debt"),
        lifetime: row.get("lifetime"),
        as_of: row.get("as_of"),
        epoch: row.get("epoch"),
        milestone: row.get("milestone"),
        has_email: row.get("has_email"),
        last_seq: row.get("last_seq"),
        enrolled_at: row.get("enrolled_at"),
        updated_at: row.get("updated_at"),
    })
}
