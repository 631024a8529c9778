//! What has become of commands, many at once: for those who wait for several and must not ask once for each.

use std::collections::HashMap;

use deadpool_postgres::Client;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use loyalty_common::Receipt;
use loyalty_common::decode::decode;
use loyalty_ledger::contact::ContactKey;
use loyalty_ledger::{CommandContent, CommandKey};
use tokio_postgres::{Row, Statement};

use super::receipts::{COLUMNS, read_receipt};
use crate::dead_letters::Reason;
use crate::ledger_row::{self, CONTACT_KEY};
use crate::partition::{grouped, partition};
use crate::pool::{Pool, StoreError};

/// What has become of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandState {
    /// It is in the ledger, for good.
    Decided {
        receipt: Box<Receipt>,
        /// What it asked: the same id may have been used for something else.
        content: CommandContent,
    },
    /// It waits for its member's enrolment.
    Parked {
        /// What it asked; none, if this release cannot read what waits.
        content: Option<CommandContent>,
    },
    /// It was set aside, and an operator decides.
    DeadLetter {
        reason: Reason,
        /// What exactly was wrong.
        error: String,
        /// When it was set aside, last: tells the dead letter of an earlier sending from one of this.
        at: Timestamp,
    },
}

/// A row for each command of one partition, joined by key and nothing else: `limit` keeps the planner from turning a
/// lookup into a join over the whole table.
fn query() -> String {
    format!(
        "select k.place, l.*, p.parked_body, d.dead_reason, d.dead_error, d.dead_at
         from unnest($1::text[], $2::uuid[]) with ordinality as k (member, command, place)
         left join lateral (
             select {COLUMNS}, email_hmac, name_hmac, {CONTACT_KEY} from ledger
             where partition = $3 and member_id = k.member and command_id = k.command limit 1) as l on true
         left join lateral (
             select body as parked_body from parked
             where partition = $3 and member_id = k.member and command_id = k.command limit 1) as p on true
         left join lateral (
             select reason as dead_reason, error as dead_error, last_at as dead_at from dead_letter
             where partition = $3 and member_id = k.member and command_id = k.command
             order by last_at desc limit 1) as d on true"
    )
}

/// The outcomes of those commands that have one, in one round trip. The ledger has the first word, then what waits,
/// then what was set aside.
pub async fn command_states(pool: &Pool, keys: &[CommandKey]) -> Result<HashMap<CommandKey, CommandState>, StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(&query()).await?;
    let groups = grouped(keys, |(member, _)| partition(member));
    let of_groups = groups.iter().map(|(partition, keys)| states_in(&client, &statement, *partition, keys));
    Ok(try_join_all(of_groups).await?.into_iter().flatten().collect())
}

/// Of commands of one partition.
async fn states_in(
    client: &Client,
    statement: &Statement,
    partition: i16,
    keys: &[&CommandKey],
) -> Result<Vec<(CommandKey, CommandState)>, StoreError> {
    let members: Vec<&str> = keys.iter().map(|(member, _)| member.as_str()).collect();
    let commands: Vec<_> = keys.iter().map(|(_, command)| command.uuid()).collect();
    let mut states = Vec::with_capacity(keys.len());
    for row in &client.query(statement, &[&members, &commands, &partition]).await? {
        if let Some(state) = read_state(row)? {
            states.push((key(row, keys)?, state));
        }
    }
    Ok(states)
}

/// The key as the caller spelled it, by its place.
fn key(row: &Row, keys: &[&CommandKey]) -> Result<CommandKey, StoreError> {
    let index = usize::try_from(row.get::<_, i64>("place") - 1).ok();
    index
        .and_then(|index| keys.get(index))
        .map(|key| (*key).clone())
        .ok_or(StoreError::UnexpectedValue { column: "place" })
}

fn read_state(row: &Row) -> Result<Option<CommandState>, StoreError> {
    if row.get::<_, Option<&str>>("type").is_some() {
        return read_decided(row).map(Some);
    }
    if let Some(body) = row.get::<_, Option<&[u8]>>("parked_body") {
        let content = decode(body).ok().as_ref().map(CommandContent::of);
        return Ok(Some(CommandState::Parked { content }));
    }
    row.get::<_, Option<&str>>("dead_reason").map(|reason| read_dead_letter(row, reason)).transpose()
}

fn read_dead_letter(row: &Row, reason: &str) -> Result<CommandState, StoreError> {
    Ok(CommandState::DeadLetter {
        reason: Reason::parse(reason).ok_or(StoreError::UnexpectedValue { column: "dead_letter.reason" })?,
        error: row.get("dead_error"),
        at: row.get("dead_at"),
    })
}

fn read_decided(row: &Row) -> Result<CommandState, StoreError> {
    let receipt = Box::new(read_receipt(row)?);
    let key = ContactKey::from_row(row.get("contact_key"));
    let content = ledger_row::content(row, key.as_ref())?;
    Ok(CommandState::Decided { receipt, content })
}
