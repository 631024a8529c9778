//! Looking at dead letters: pages, counts, ids, and one with everything. Reads only.
//!
//! Pages go on after the last dead letter seen, so that one costs the same however far down it is.

use jiff::Timestamp;
use loyalty_common::string_enum;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;

use super::filter::{CONDITION, Filter};
use super::history::{self, Action, Event};
use super::{COLUMNS, DeadLetter, DeadLetterId, dead_letter};
use crate::PAGE_MAX;
use crate::pool::{Pool, StoreError};

/// A dead letter with everything that came with it and was done to it.
#[derive(Clone, Debug)]
pub struct Opened {
    pub dead_letter: DeadLetter,
    /// Properties and headers.
    pub headers: Value,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// What an operator wrote instead.
    pub edited_body: Option<Vec<u8>>,
    /// Who did what and why, the oldest first. Empty on a [`page`].
    pub history: Vec<Event>,
}

impl Opened {
    /// When an operator erased what the sender wrote.
    pub fn erased_at(&self) -> Option<Timestamp> {
        self.history.iter().find(|event| event.action == Action::Erased).map(|event| event.at)
    }
}

/// So many dead letters have something in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// What they have in common; none, if it is that nothing is known.
    pub key: Option<String>,
    pub dead_letters: i64,
    /// When the first of them was set aside.
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

string_enum! {
    /// What dead letters are counted by.
    pub enum Grouping {
        /// Why they are dead letters.
        Reason = "reason",
        /// The command's type.
        Type = "type",
        Member = "member",
        /// The queue they came from.
        Source = "source",
        /// The day, in UTC, on which they were set aside first.
        Day = "day",
        /// What an operator has made of them.
        State = "state",
    }
}

impl Grouping {
    const fn key(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::Type => "command_type",
            Self::Member => "member_id",
            Self::Source => "source",
            Self::Day => "to_char(first_at at time zone 'UTC', 'YYYY-MM-DD')",
            Self::State => "state",
        }
    }

    const fn order(self) -> &'static str {
        match self {
            Self::Day => "key",
            Self::Reason | Self::Type | Self::Member | Self::Source | Self::State => "dead_letters desc, key",
        }
    }
}

/// A page of dead letters, the oldest first, beginning after `after`.
pub async fn list(
    pool: &Pool,
    filter: &Filter,
    after: Option<DeadLetterId>,
    limit: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let rows = select(pool, COLUMNS, filter, after, limit.min(PAGE_MAX)).await?;
    rows.iter().map(dead_letter).collect()
}

/// As [`list`], with bodies: ask for few, since one may have many megabytes.
pub async fn page(
    pool: &Pool,
    filter: &Filter,
    after: Option<DeadLetterId>,
    limit: u32,
) -> Result<Vec<Opened>, StoreError> {
    let columns = format!("{COLUMNS}, headers, body, edited_body");
    let rows = select(pool, &columns, filter, after, limit.min(PAGE_MAX)).await?;
    rows.iter().map(|row| opened(row, Vec::new())).collect()
}

/// The dead letters that a filter matches now, the oldest first, at most `limit`.
pub async fn matching(pool: &Pool, filter: &Filter, limit: u32) -> Result<Vec<DeadLetterId>, StoreError> {
    let rows = select(pool, "dead_letter_id", filter, None, limit).await?;
    Ok(rows.iter().map(|row| DeadLetterId(row.get(0))).collect())
}

/// How many dead letters have what in common, most first (days in their order). At most [`PAGE_MAX`] groups.
pub async fn counts(pool: &Pool, filter: &Filter, by: Grouping) -> Result<Vec<Count>, StoreError> {
    let (key, order) = (by.key(), by.order());
    let query = format!(
        "select {key} as key, count(*) as dead_letters, min(first_at) as first_at, max(last_at) as last_at
         from dead_letter where {CONDITION} group by 1 order by {order} limit $8"
    );
    let values = filter.values();
    let rows = pool.get().await?.query(&query, &values.and(&[&i64::from(PAGE_MAX)])).await?;
    let count = |row: &Row| Count {
        key: row.get("key"),
        dead_letters: row.get("dead_letters"),
        first_at: row.get("first_at"),
        last_at: row.get("last_at"),
    };
    Ok(rows.iter().map(count).collect())
}

/// One dead letter with everything.
pub async fn open(pool: &Pool, id: DeadLetterId) -> Result<Option<Opened>, StoreError> {
    let client = pool.get().await?;
    let query = format!("select {COLUMNS}, headers, body, edited_body from dead_letter where dead_letter_id = $1");
    let Some(row) = client.query_opt(&query, &[&id.0]).await? else {
        return Ok(None);
    };
    let history = history::of_dead_letter(&client, id).await?;
    opened(&row, history).map(Some)
}

async fn select(
    pool: &Pool,
    columns: &str,
    filter: &Filter,
    after: Option<DeadLetterId>,
    limit: u32,
) -> Result<Vec<Row>, StoreError> {
    let after = after.map_or(0, DeadLetterId::get); // The numbers begin at 1.
    let query = format!(
        "select {columns} from dead_letter where {CONDITION} and dead_letter_id > $8 order by dead_letter_id limit $9"
    );
    let values = filter.values();
    Ok(pool.get().await?.query(&query, &values.and(&[&after, &i64::from(limit)])).await?)
}

fn opened(row: &Row, history: Vec<Event>) -> Result<Opened, StoreError> {
    Ok(Opened {
        dead_letter: dead_letter(row)?,
        headers: row.get("headers"),
        body: row.get("body"),
        edited_body: row.get("edited_body"),
        history,
    })
}
