//! The email relay: publishes messages from the outbox to the broker.
//!
//! It publishes what committed transactions left behind and removes each row after its confirm, never before. So a
//! message may be published twice, when a confirm or a commit is lost, and is never lost itself.

use std::sync::Arc;

use loyalty_common::publisher::{Confirmed, Message, Publisher, Unconfirmed};
use loyalty_common::topology;
use loyalty_store::Pool;
use loyalty_store::outbox::{OutboxBatch, OutboxId, OutboxMessage};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::outbox::{HOLD_MAX, NotPublished, RelayError, Remaining, connected, in_time, properties, run_relay};

/// Messages taken in one transaction. Enough to fill the publisher's window a few times a second; few enough that a
/// row is not locked for long.
const BATCH_MESSAGES: u32 = 200;

/// Publishes the outbox until `shutdown`. `wake` is notified after a commit that left something in it.
pub async fn run(pool: Pool, publisher: Publisher, wake: Arc<Notify>, shutdown: CancellationToken) {
    let relay = EmailRelay { pool, publisher };
    run_relay("emails", &wake, &shutdown, || relay.drain(&shutdown)).await;
    info!(part = "email_relay", "Stopped");
}

struct EmailRelay {
    pool: Pool,
    publisher: Publisher,
}

impl EmailRelay {
    /// Publishes until the outbox is empty, or as soon as something cannot be published: all rows go to one broker,
    /// and nearly all to one queue, so the next batch would fare no better. A batch that was begun is finished.
    async fn drain(&self, shutdown: &CancellationToken) -> Result<Remaining, RelayError> {
        while shutdown.run_until_cancelled(connected(&self.publisher)).await.is_some() {
            let Some(taken) = OutboxBatch::oldest(&self.pool, BATCH_MESSAGES).await? else {
                return Ok(Remaining::Nothing);
            };
            let count = taken.messages.len();
            self.publish_batch(taken).await?;
            debug!(batch.size = count, "Published a batch of the outbox");
        }
        Ok(Remaining::Nothing)
    }

    async fn publish_batch(&self, taken: OutboxBatch) -> Result<(), RelayError> {
        let results = self.publish(&taken.messages).await;
        let confirmed: Vec<OutboxId> = results.iter().filter_map(|result| result.as_ref().ok().copied()).collect();
        taken.settle(&confirmed).await?;
        let (count, left) = (results.len(), results.len() - confirmed.len());
        match results.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some(source) => Err(RelayError::Publish { left, taken: count, source }),
        }
    }

    /// Hands all messages over in the order of their rows, then waits for the confirms.
    async fn publish(&self, messages: &[OutboxMessage]) -> Vec<Result<OutboxId, NotPublished>> {
        let deadline = Instant::now() + HOLD_MAX;
        let mut promises = Vec::with_capacity(messages.len());
        for message in messages {
            promises.push((message.outbox_id, self.submit(message, deadline).await));
        }
        let mut results = Vec::with_capacity(messages.len());
        for (outbox_id, promise) in promises {
            results.push(match promise {
                Ok(unconfirmed) => in_time(deadline, unconfirmed.confirmed()).await.map(|Confirmed { .. }| outbox_id),
                Err(error) => Err(error),
            });
        }
        results
    }

    async fn submit(&self, message: &OutboxMessage, deadline: Instant) -> Result<Unconfirmed, NotPublished> {
        in_time(deadline, self.publisher.submit(to_message(message)?)).await
    }
}

fn to_message(row: &OutboxMessage) -> Result<Message, NotPublished> {
    let exchange = [topology::EMAILS, topology::COMMANDS]
        .into_iter()
        .find(|exchange| *exchange == row.exchange)
        .ok_or_else(|| NotPublished::UnknownExchange { exchange: row.exchange.clone() })?;
    let mut properties = properties(&row.message_id, &row.message_type, row.created_at);
    if let Some(trace) = &row.trace {
        properties = properties.with_headers(trace.headers());
    }
    let (routing_key, body) = (row.routing_key.clone(), row.body.clone());
    Ok(Message { exchange, routing_key, mandatory: true, properties, body })
}
