//! Commands that wait for their member's enrolment: seen by operators, and moved to the dead letters when they have
//! waited too long.
//!
//! An enrolment applies what waits under the lock of its member's row, so whoever takes a command away takes that
//! lock first: a command is applied or set aside, never both.

use std::time::Duration;

use jiff::Timestamp;
use loyalty_common::decode::decode;
use loyalty_common::{CommandId, CommandType, MemberId, Partition, topology};
use serde::Serialize;
use serde_json::json;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::PAGE_MAX;
use crate::dead_letters::{self, NewDeadLetter, Reason};
use crate::partition;
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

/// A command that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parked {
    /// Its place among all that wait. They rise in the order of arrival.
    pub parked_id: i64,
    pub member_id: MemberId,
    pub command_id: CommandId,
    /// What it asks, if this release can read it.
    pub command_type: Option<CommandType>,
    pub points: Option<i64>,
    /// Since when it waits.
    pub parked_at: Timestamp,
}

/// Which commands. `None` asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this member's.
    pub member: Option<MemberId>,
    /// Only those that wait since this time or later.
    pub since: Option<Timestamp>,
    /// Only those that wait since before this time.
    pub until: Option<Timestamp>,
}

const LIST: &str = "
    select of_one.* from generate_series(0, 15) as p (number)
    cross join lateral (
        select parked_id, member_id, command_id, body, parked_at from parked
        where partition = p.number and ($1::text is null or member_id = $1)
          and ($2::timestamptz is null or parked_at >= $2) and ($3::timestamptz is null or parked_at < $3)
          and parked_id > $4
        order by parked_id limit $5) as of_one
    where $6::smallint is null or p.number = $6
    order by parked_id limit $5";

/// A page of commands that wait, the oldest first, beginning after the one numbered `after`; 0 begins at the first.
pub async fn list(pool: &Pool, filter: &Filter, after: i64, limit: u32) -> Result<Vec<Parked>, StoreError> {
    let member = filter.member.as_ref().map(MemberId::as_str);
    let limit = i64::from(limit.min(PAGE_MAX));
    let partition = filter.member.as_ref().map(partition::partition);
    let parameters: [&(dyn ToSql + Sync); 6] = [&member, &filter.since, &filter.until, &after, &limit, &partition];
    let rows = pool.get().await?.query(LIST, &parameters).await?;
    rows.iter().map(parked).collect()
}

const OVERDUE: &str = "
    select parked_id, member_id from parked
    where partition = $3 and parked_at < now() - make_interval(secs => $1) order by parked_at limit $2";

/// In the order in which batches lock members.
const LOCK: &str = "
    select member_id from member where partition = $2 and member_id = any($1) order by member_id for update";

/// What an enrolment took meanwhile is gone, and is not returned.
const TAKE: &str = "
    delete from parked where partition = $2 and parked_id = any($1) returning parked_id, member_id, command_id, body, parked_at";

/// Moves commands that have waited longer than `keep` to the dead letters, at most `limit`, those of each partition in
/// a transaction. Returns how many were found; as many as `limit` means that there may be more.
pub async fn set_overdue_aside(pool: &Pool, keep: Duration, limit: u32) -> Result<usize, StoreError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = 0;
    for partition in partition::all() {
        if found < limit {
            found += set_aside_in(pool, partition, keep, limit - found).await?;
        }
    }
    Ok(found)
}

async fn set_aside_in(pool: &Pool, partition: i16, keep: Duration, limit: usize) -> Result<usize, StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let overdue = transaction.query(OVERDUE, &[&keep.as_secs_f64(), &limit, &partition]).await?;
    let ids: Vec<i64> = overdue.iter().map(|row| row.get("parked_id")).collect();
    let members: Vec<&str> = overdue.iter().map(|row| row.get("member_id")).collect();
    transaction.query(LOCK, &[&members, &partition]).await?;
    let mut taken = transaction.query(TAKE, &[&ids, &partition]).await?;
    taken.sort_by_key(|row| row.get::<_, i64>("parked_id"));
    let dead_letters: Vec<NewDeadLetter> = taken.iter().map(dead_letter).collect::<Result<_, _>>()?;
    dead_letters::record(&transaction, &dead_letters).await?;
    transaction.commit().await?;
    Ok(overdue.len())
}

fn dead_letter(row: &Row) -> Result<NewDeadLetter, StoreError> {
    let parked = parked(row)?;
    let partition = Partition::of(&parked.member_id);
    Ok(NewDeadLetter {
        source: partition.queue(),
        reason: Reason::ParkedTooLong,
        error: format!("waited for the member's enrolment since {:.0}", parked.parked_at),
        member_id: Some(parked.member_id.to_string()),
        command_id: Some(parked.command_id.uuid()),
        command_type: parked.command_type.map(|command_type| command_type.to_string()),
        email_id: None,
        exchange: topology::COMMANDS.to_owned(),
        routing_key: partition.routing_key(),
        message_id: Some(parked.command_id.to_string()),
        headers: json!({}),
        body: row.get("body"),
        repeated: false,
    })
}

fn parked(row: &Row) -> Result<Parked, StoreError> {
    let command = decode(row.get("body")).ok();
    Ok(Parked {
        parked_id: row.get("parked_id"),
        member_id: MemberId::parse(row.get("member_id"))
            .map_err(|_| StoreError::UnexpectedValue { column: "parked.member_id" })?,
        command_id: CommandId::from(row.get::<_, Uuid>("command_id")),
        command_type: command.as_ref().map(loyalty_common::Command::command_type),
        points: command.and_then(|command| command.action.points()),
        parked_at: row.get("parked_at"),
    })
}
