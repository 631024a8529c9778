//! Messages that a transaction wanted published, on their way to the broker.
//!
//! The rows of a partition are taken in the order they were written and stay locked until what was confirmed is
//! removed, so that two relays never publish the same row at once. A row must never be removed before its confirm.

use jiff::Timestamp;
use loyalty_common::envelope::TraceContext;
use tokio_postgres::Row;

use crate::partition::{execute_for_each, look, oldest_of_each};
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

/// The oldest messages of the outbox, locked until this is settled or dropped.
#[derive(Debug)]
pub struct OutboxBatch {
    transaction: Transaction,
    /// Those of a partition stand in the order they were written.
    pub messages: Vec<OutboxMessage>,
}

/// A message as its transaction wanted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxMessage {
    pub outbox_id: OutboxId,
    pub exchange: String,
    /// Where the exchange should lead it.
    pub routing_key: String,
    /// The AMQP property of that name.
    pub message_id: String,
    /// The AMQP property `type`.
    pub message_type: String,
    /// The trace that it is part of.
    pub trace: Option<TraceContext>,
    pub body: Vec<u8>,
    /// When it was written.
    pub created_at: Timestamp,
}

/// The place of a message in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxId {
    partition: i16,
    number: i64,
}

/// Rows that another relay holds are passed over: they are on their way already.
const TAKE: &str = "
    select partition, outbox_id, exchange, routing_key, message_id, type, body, traceparent, tracestate, created_at
    from outbox where partition = $1 order by outbox_id limit $2 for update skip locked";

const REMOVE: &str = "delete from outbox where partition = $1 and outbox_id = any($2)";

impl OutboxBatch {
    /// Locks the oldest messages of each partition, about `limit` in all. None: there is nothing that another relay has
    /// not taken.
    pub async fn oldest(pool: &Pool, limit: u32) -> Result<Option<Self>, StoreError> {
        let transaction = Transaction::begin(pool).await?;
        let rows = oldest_of_each(&transaction, &look("outbox", "outbox_id"), TAKE, limit).await?;
        if rows.is_empty() {
            transaction.commit().await?;
            return Ok(None);
        }
        Ok(Some(Self { transaction, messages: rows.iter().map(message).collect() }))
    }

    /// Removes what the broker confirmed and lets go of the rest.
    pub async fn settle(self, confirmed: &[OutboxId]) -> Result<(), StoreError> {
        let rows = confirmed.iter().map(|id| (id.partition, id.number));
        execute_for_each(&self.transaction, REMOVE, rows).await?;
        self.transaction.commit().await
    }
}

fn message(row: &Row) -> OutboxMessage {
    let traceparent: Option<&str> = row.get("traceparent");
    OutboxMessage {
        outbox_id: OutboxId { partition: row.get("partition"), number: row.get("outbox_id") },
        exchange: row.get("exchange"),
        routing_key: row.get("routing_key"),
        message_id: row.get("message_id"),
        message_type: row.get("type"),
        trace: traceparent.and_then(|parent| TraceContext::parse(parent, row.get("tracestate"))),
        body: row.get("body"),
        created_at: row.get("created_at"),
    }
}
