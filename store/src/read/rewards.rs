//! The rewards of a member, each with the state of its email.

use jiff::Timestamp;
use loyalty_common::MemberId;
use serde::Serialize;
use tokio_postgres::Row;

use super::page;
use crate::emails::EmailState;
use crate::partition::partition;
use crate::pool::{Pool, StoreError};

/// A reward that a member earned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reward {
    /// In which membership.
    pub epoch: i32,
    /// The how-manyth of that membership: 1, 2, 3, ...
    pub number: i64,
    /// The ledger row that earned it.
    pub seq: i64,
    /// The lifetime sum that was crossed.
    pub points: i64,
    /// What the member gets.
    pub title: String,
    pub granted_at: Timestamp,
    /// When it was used; none: it is open.
    pub redeemed_at: Option<Timestamp>,
    pub email: RewardEmail,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RewardEmail {
    pub state: EmailState,
    /// How often a mail server was asked to take it.
    pub attempts: i32,
    /// While it is retried: when the next attempt is due.
    pub due_at: Option<Timestamp>,
    /// What the mail server said last. Addresses in it are masked.
    pub reply: Option<String>,
}

const REWARDS: &str = "
    select r.epoch, r.number, r.seq, r.points, r.title, r.granted_at, l.recorded_at as redeemed_at,
           e.state, e.attempts, e.due_at, e.reply
    from reward as r
    join email as e using (partition, member_id, epoch, number)
    left join ledger as l on l.partition = r.partition and l.member_id = r.member_id and l.seq = r.redeemed_seq
    where r.partition = $3 and r.member_id = $1 order by r.epoch desc, r.number desc limit $2";

/// A reward of the membership that a member is in, or was in last: what can be redeemed, and what was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MembershipReward {
    /// The how-manyth of the membership: 1, 2, 3, ...
    pub number: i64,
    /// What the member gets.
    pub title: String,
    /// The lifetime sum that was crossed.
    pub points: i64,
    pub granted_at: Timestamp,
    /// When it was used; none: it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redeemed_at: Option<Timestamp>,
}

/// Without the emails, which not everybody who reads this may see.
const OF_MEMBERSHIP: &str = "
    select r.number, r.title, r.points, r.granted_at, l.recorded_at as redeemed_at
    from reward as r
    join member as m using (partition, member_id, epoch)
    left join ledger as l on l.partition = r.partition and l.member_id = r.member_id and l.seq = r.redeemed_seq
    where r.partition = $1 and r.member_id = $2 and r.number > $3 order by r.number limit $4";

/// A page of the rewards of a member's last membership in the order of their numbers, beginning after the number
/// `after`; 0 begins at the first.
pub async fn membership_rewards(
    pool: &Pool,
    member: &MemberId,
    after: i64,
    limit: u32,
) -> Result<Vec<MembershipReward>, StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(OF_MEMBERSHIP).await?;
    let rows = client.query(&statement, &[&partition(member), &member.as_str(), &after, &page(limit)]).await?;
    let reward = |row: &Row| MembershipReward {
        number: row.get("number"),
        title: row.get("title"),
        points: row.get("points"),
        granted_at: row.get("granted_at"),
        redeemed_at: row.get("redeemed_at"),
    };
    Ok(rows.iter().map(reward).collect())
}

/// A member's latest rewards, the latest first.
pub async fn rewards(pool: &Pool, member: &MemberId, limit: u32) -> Result<Vec<Reward>, StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(REWARDS).await?;
    let rows = client.query(&statement, &[&member.as_str(), &page(limit), &partition(member)]).await?;
    rows.iter().map(read_reward).collect()
}

fn read_reward(row: &Row) -> Result<Reward, StoreError> {
    Ok(Reward {
        epoch: row.get("epoch"),
        number: row.get("number"),
        seq: row.get("seq"),
        points: row.get("points"),
        title: row.get("title"),
        granted_at: row.get("granted_at"),
        redeemed_at: row.get("redeemed_at"),
        email: RewardEmail {
            state: EmailState::read(row)?,
            attempts: row.get("attempts"),
            due_at: row.get("due_at"),
            reply: row.get::<_, Option<&str>>("reply").map(loyalty_common::email_address::mask),
        },
    })
}
