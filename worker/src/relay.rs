//! The relay: carries messages from the outbox to the broker.
//!
//! It publishes what committed transactions left behind and removes each row after its confirm, never before. So a
//! message may be published twice, when a confirm or a commit is lost, and is never lost itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::BasicProperties;
use loyalty_common::backoff;
use loyalty_common::publisher::{Confirmed, Link, Message, PublishError, Publisher, chain};
use loyalty_common::topology;
use loyalty_store::outbox::{OutboxId, OutboxMessage, Taken};
use loyalty_store::{Pool, StoreError};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Messages taken in one transaction. Enough to fill the publisher's window a few times a second; few enough that a
/// row is not locked for long.
const BATCH_MESSAGES: u32 = 200;

/// How long the rows of one batch may be locked while their confirms are awaited. A confirm takes milliseconds; a
/// transaction that stays open for longer keeps the database from tidying up behind it.
const HOLD_MAX: Duration = Duration::from_secs(10);

/// How often to look without being woken: for rows whose process ended between its commit and the wake-up.
const POLL: Duration = Duration::from_secs(5);

/// AMQP's number for a message that must survive a restart.
const PERSISTENT: u8 = 2;

/// Publishes the outbox until `shutdown`. `wake` is rung after a commit that left something in it.
pub async fn run(pool: Pool, publisher: Publisher, wake: Arc<Notify>, shutdown: CancellationToken) {
    let relay = Relay { pool, publisher };
    // What is published and not removed by then is published once more by the next relay.
    shutdown.run_until_cancelled(relay.work(&wake)).await;
    info!(part = "relay", "Stopped");
}

struct Relay {
    pool: Pool,
    publisher: Publisher,
}

/// Why the outbox could not be emptied. What is left stays in it.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("could not read or tidy the outbox")]
    Store(#[from] StoreError),
    #[error("could not publish {left} of {taken} messages of the outbox")]
    Publish { left: usize, taken: usize, source: NotPublished },
}

/// Why a message stays in the outbox.
#[derive(Debug, thiserror::Error)]
enum NotPublished {
    #[error("exchange {exchange} is none of ours; was the row written by a newer release?")]
    ForeignExchange { exchange: String },
    #[error(transparent)]
    Refused(#[from] PublishError),
    #[error("the broker confirmed nothing for {} seconds", HOLD_MAX.as_secs())]
    HeldTooLong,
}

impl Relay {
    async fn work(&self, wake: &Notify) {
        let mut attempt = 0;
        loop {
            match self.empty().await {
                Ok(()) => {
                    attempt = 0;
                    // Either ends the wait; a wake-up that came while we worked is remembered by `Notify`.
                    let _ = tokio::time::timeout(POLL, wake.notified()).await;
                }
                Err(error) => {
                    let wait = backoff::delay(attempt, backoff::jitter());
                    attempt = attempt.saturating_add(1);
                    warn!(error = chain(&error), wait_ms = wait.as_millis(), "The outbox waits");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Publishes until the outbox is empty, or as soon as something cannot be published: all rows go to one broker,
    /// and nearly all to one queue, so the next batch would fare no better.
    async fn empty(&self) -> Result<(), RelayError> {
        loop {
            self.connected().await;
            let taken = Taken::oldest(&self.pool, BATCH_MESSAGES).await?;
            let count = taken.messages.len();
            if count == 0 {
                return Ok(());
            }
            self.publish(taken).await?;
            debug!(batch.size = count, "Published a batch of the outbox");
        }
    }

    /// Waits until the broker takes messages, so that no transaction is opened only to wait.
    async fn connected(&self) {
        let mut link = self.publisher.link();
        // An error means that the publisher is closed, which publishing reports.
        let _ = link.wait_for(|link| *link == Link::Up).await;
    }

    async fn publish(&self, taken: Taken) -> Result<(), RelayError> {
        let deadline = Instant::now() + HOLD_MAX;
        // Polled together and in order, so that messages leave in the order of their rows and nobody waits for the
        // confirm of another.
        let results = join_all(taken.messages.iter().map(|message| self.publish_one(message, deadline))).await;
        let count = results.len();
        let (mut confirmed, mut left): (Vec<OutboxId>, Vec<NotPublished>) = (Vec::new(), Vec::new());
        for (message, result) in taken.messages.iter().zip(results) {
            match result {
                Ok(Confirmed { .. }) => confirmed.push(message.outbox_id),
                Err(error) => left.push(error),
            }
        }
        taken.settle(&confirmed).await?;
        let left_count = left.len();
        left.into_iter()
            .next()
            .map_or(Ok(()), |source| Err(RelayError::Publish { left: left_count, taken: count, source }))
    }

    async fn publish_one(&self, message: &OutboxMessage, deadline: Instant) -> Result<Confirmed, NotPublished> {
        let message = outgoing(message)?;
        match timeout_at(deadline, self.publisher.publish(message)).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(NotPublished::HeldTooLong),
        }
    }
}

fn outgoing(row: &OutboxMessage) -> Result<Message, NotPublished> {
    let exchange = [topology::EMAILS, topology::COMMANDS]
        .into_iter()
        .find(|exchange| *exchange == row.exchange)
        .ok_or_else(|| NotPublished::ForeignExchange { exchange: row.exchange.clone() })?;
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(row.message_id.as_str().into())
        .with_type(row.message_type.as_str().into())
        // Before 1970 only if the database's clock says so.
        .with_timestamp(u64::try_from(row.created_at.as_second()).unwrap_or_default())
        .with_app_id("loyalty".into());
    Ok(Message { exchange, routing_key: row.routing_key.clone(), properties, body: row.body.clone() })
}
