//! The relay: carries messages from the outbox to the broker.
//!
//! It publishes what committed transactions left behind and removes each row after its confirm, never before. So a
//! message may be published twice, when a confirm or a commit is lost, and is never lost itself.

use std::sync::Arc;
use std::time::Duration;

use lapin::BasicProperties;
use loyalty_common::backoff;
use loyalty_common::publisher::{Confirmed, Link, Message, PublishError, Publisher, Unconfirmed, chain};
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
    relay.work(&wake, &shutdown).await;
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
    #[error("the broker did not take a message")]
    Refused(#[source] PublishError),
    #[error("the broker confirmed nothing for {} seconds", HOLD_MAX.as_secs())]
    HeldTooLong,
}

impl Relay {
    /// A batch that was begun is finished: only the waits in between are cut short.
    async fn work(&self, wake: &Notify, shutdown: &CancellationToken) {
        let mut attempt = 0;
        while !shutdown.is_cancelled() {
            match self.empty(shutdown).await {
                Ok(()) => {
                    attempt = 0;
                    // A wake-up that came while we worked is remembered, so none is missed.
                    let rung = tokio::time::timeout(POLL, wake.notified());
                    shutdown.run_until_cancelled(rung).await;
                }
                Err(error) => {
                    let wait = backoff::delay(attempt, backoff::jitter());
                    attempt = attempt.saturating_add(1);
                    warn!(error = chain(&error), wait_ms = wait.as_millis(), "The outbox waits");
                    shutdown.run_until_cancelled(tokio::time::sleep(wait)).await;
                }
            }
        }
    }

    /// Publishes until the outbox is empty, or as soon as something cannot be published: all rows go to one broker,
    /// and nearly all to one queue, so the next batch would fare no better.
    async fn empty(&self, shutdown: &CancellationToken) -> Result<(), RelayError> {
        while shutdown.run_until_cancelled(self.connected()).await.is_some() {
            let taken = Taken::oldest(&self.pool, BATCH_MESSAGES).await?;
            let count = taken.messages.len();
            if count == 0 {
                return Ok(());
            }
            self.relay(taken).await?;
            debug!(batch.size = count, "Published a batch of the outbox");
        }
        Ok(())
    }

    /// Waits until the broker takes messages, so that no transaction is opened only to wait.
    async fn connected(&self) {
        let mut link = self.publisher.link();
        // An error means that the publisher is closed, which publishing reports.
        let _ = link.wait_for(|link| *link == Link::Up).await;
    }

    async fn relay(&self, taken: Taken) -> Result<(), RelayError> {
        let fates = self.publish(&taken.messages).await;
        let confirmed: Vec<OutboxId> = fates.iter().filter_map(|fate| fate.as_ref().ok().copied()).collect();
        taken.settle(&confirmed).await?;
        let (count, left) = (fates.len(), fates.len() - confirmed.len());
        match fates.into_iter().find_map(Result::err) {
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
        let mut fates = Vec::with_capacity(messages.len());
        for (outbox_id, promise) in promises {
            fates.push(match promise {
                Ok(unconfirmed) => in_time(deadline, unconfirmed.confirmed()).await.map(|Confirmed { .. }| outbox_id),
                Err(error) => Err(error),
            });
        }
        fates
    }

    async fn submit(&self, message: &OutboxMessage, deadline: Instant) -> Result<Unconfirmed, NotPublished> {
        in_time(deadline, self.publisher.submit(outgoing(message)?)).await
    }
}

async fn in_time<T>(deadline: Instant, step: impl Future<Output = Result<T, PublishError>>) -> Result<T, NotPublished> {
    timeout_at(deadline, step).await.map_err(|_| NotPublished::HeldTooLong)?.map_err(NotPublished::Refused)
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
