//! What an operator's gauges show of the tables: how much waits there, and for how long.
//!
//! Every number comes through an index and stops at a bound, so that asking costs the same on tables of any size. It
//! only reads.

use std::time::Duration;

use futures_util::try_join;
use loyalty_common::partition::PARTITIONS;
use tokio_postgres::Row;

use crate::connection::Connection;
use crate::dead_letters::Reason;
use crate::emails::EmailState;
use crate::pool::{Pool, StoreError};

/// Rows of one kind are counted up to here. Whoever has more than ten thousand dead letters needs no exact figure,
/// and the database must not count a million rows every few seconds.
pub const COUNTED_MAX: i64 = 10_000;

/// The states in which an email waits for something. The others hold every email that ever was.
pub const UNSETTLED: [EmailState; 5] =
    [EmailState::Queued, EmailState::Sending, EmailState::Retrying, EmailState::Unknown, EmailState::Dead];

/// What waits in the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that the broker has not confirmed.
    pub outbox: Queued,
    /// Events that the broker has not confirmed.
    pub events: Queued,
    /// Commands that wait for their members' enrolments.
    pub parked: Queued,
    /// Open dead letters; every reason is there.
    pub dead_letters: Vec<(Reason, i64)>,
    /// Emails that are not done with; every state of [`UNSETTLED`] is there.
    pub emails: Vec<(EmailState, i64)>,
}

/// Rows that wait in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// How many, at most [`COUNTED_MAX`].
    pub rows: i64,
    /// How long the oldest has waited; nothing if there is none.
    pub oldest: Duration,
}

const DEAD_LETTERS: &str = "
    select reason, count(*)
    from (select reason from dead_letter where state = 'open' order by dead_letter_id limit $1) as counted
    group by reason";

/// The second condition says nothing new to people; it is what the index asks for.
const EMAILS: &str = "
    select s.state, least($2, sum(counted.emails)::bigint)
    from unnest($1::text[]) as s (state) cross join generate_series(0, 15) as p (number)
    cross join lateral (
        select count(*) as emails from (
            select from email where partition = p.number and email.state = s.state
                                and email.state not in ('sent', 'no_address', 'outdated') limit $2) as bounded) as counted
    group by s.state";

/// Reads all of it, in one flight. Call it with a pool for lookups by key.
pub async fn backlog(pool: &Pool) -> Result<Backlog, StoreError> {
    let client = pool.get().await?;
    let (outbox, events, parked, dead_letters, emails) = try_join!(
        queued(&client, "outbox", "created_at", "outbox_id"),
        queued(&client, "event_outbox", "created_at", "event_no"),
        queued(&client, "parked", "parked_at", "parked_at"),
        dead_letters(&client),
        emails(&client)
    )?;
    Ok(Backlog { outbox, events, parked, dead_letters, emails })
}

/// How many rows a table has, up to the bound, and how long the oldest waits: the first of each partition by `order`.
async fn queued(client: &Connection, table: &str, since: &str, order: &str) -> Result<Queued, StoreError> {
    let query = format!(
        "select (select count(*) from (select from {table} limit $1) as counted),
                extract(epoch from clock_timestamp() - min(first.since))::float8
         from generate_series(0, {LAST}) as p (number)
         cross join lateral (
             select {since} as since from {table} where partition = p.number order by {order} limit 1) as first",
        LAST = PARTITIONS - 1
    );
    let statement = client.prepare_cached(&query).await?;
    let row = client.query_one(&statement, &[&COUNTED_MAX]).await?;
    let seconds: Option<f64> = row.get(1);
    // A clock that was set back makes a wait negative; that is none.
    let oldest = Duration::try_from_secs_f64(seconds.unwrap_or_default()).unwrap_or_default();
    Ok(Queued { rows: row.get(0), oldest })
}

async fn dead_letters(client: &Connection) -> Result<Vec<(Reason, i64)>, StoreError> {
    let statement = client.prepare_cached(DEAD_LETTERS).await?;
    let rows = client.query(&statement, &[&COUNTED_MAX]).await?;
    Ok(Reason::ALL.iter().map(|reason| (*reason, counted(&rows, reason.as_str()))).collect())
}

async fn emails(client: &Connection) -> Result<Vec<(EmailState, i64)>, StoreError> {
    let statement = client.prepare_cached(EMAILS).await?;
    let rows = client.query(&statement, &[&UNSETTLED.map(EmailState::as_str).as_slice(), &COUNTED_MAX]).await?;
    Ok(UNSETTLED.iter().map(|state| (*state, counted(&rows, state.as_str()))).collect())
}

/// The number beside a name; none is counted if the name is not there.
fn counted(rows: &[Row], name: &str) -> i64 {
    rows.iter().find(|row| row.get::<_, &str>(0) == name).map_or(0, |row| row.get(1))
}
