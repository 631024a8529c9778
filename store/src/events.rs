//! Events that a transaction wanted told, on their way to the broker.
//!
//! One relay at a time takes them: who has the turn holds a lock until what was confirmed is removed. An event must
//! never be removed before its confirm, nor while one of the same member that stands before it stays.

use deadpool_postgres::Client;
use futures_util::try_join;
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::partition::{execute_for_each, look, oldest_of_each};
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

/// The turn to publish, held until this is settled or dropped.
#[derive(Debug)]
pub struct EventBatch {
    transaction: Transaction,
    /// The oldest events. Those of a member stand in the order in which they happened.
    pub events: Vec<WaitingEvent>,
}

/// An event as its transaction wanted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingEvent {
    pub event_no: EventNo,
    pub member_id: String,
    /// The AMQP property of that name.
    pub message_id: Uuid,
    /// Its kind.
    pub routing_key: String,
    pub body: Vec<u8>,
    /// When it was decided.
    pub created_at: Timestamp,
}

/// The place of an event among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventNo {
    partition: i16,
    number: i64,
}

/// The key of the turn's lock: the bytes of `l_events`. It ends with the transaction, and so with the process that held
/// it.
const TURN_KEY: i64 = 0x6c5f_6576_656e_7473;

/// What is removed has been published. Losing that in a crash of the server publishes it again, which listeners
/// recognise; waiting for the disk each time would cost the points their share of it.
const BEGIN: &str = "begin; set local synchronous_commit = off";

const TAKE_TURN: &str = "select pg_try_advisory_xact_lock($1)";

/// After the lock, in statements of their own: the snapshot must have what the one before removed.
const OLDEST: &str = "
    select partition, event_no, member_id, message_id, routing_key, body, created_at
    from event_outbox where partition = $1 order by event_no limit $2";

const REMOVE: &str = "delete from event_outbox where partition = $1 and event_no = any($2)";

impl EventBatch {
    /// Takes the turn and the oldest events of each partition, about `limit` in all. None: somebody else has the turn.
    pub async fn take(pool: &Pool, limit: u32) -> Result<Option<Self>, StoreError> {
        let transaction = Transaction::about_to_begin(pool).await?;
        if !takes_turn(&transaction).await? {
            transaction.commit().await?;
            return Ok(None);
        }
        let rows = oldest_of_each(&transaction, &look("event_outbox", "event_no"), OLDEST, limit).await?;
        Ok(Some(Self { transaction, events: rows.iter().map(event).collect() }))
    }

    /// Removes what the broker confirmed and ends the turn.
    pub async fn settle(self, confirmed: &[EventNo]) -> Result<(), StoreError> {
        let rows = confirmed.iter().map(|event| (event.partition, event.number));
        execute_for_each(&self.transaction, REMOVE, rows).await?;
        self.transaction.commit().await
    }
}

async fn takes_turn(client: &Client) -> Result<bool, StoreError> {
    let take_turn = client.prepare_cached(TAKE_TURN).await?;
    let ((), row) = try_join!(client.batch_execute(BEGIN), client.query_one(&take_turn, &[&TURN_KEY]))?;
    Ok(row.get(0))
}

fn event(row: &Row) -> WaitingEvent {
    WaitingEvent {
        event_no: EventNo { partition: row.get("partition"), number: row.get("event_no") },
        member_id: row.get("member_id"),
        message_id: row.get("message_id"),
        routing_key: row.get("routing_key"),
        body: row.get("body"),
        created_at: row.get("created_at"),
    }
}
