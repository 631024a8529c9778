//! The consumer of dead letters: stores what the broker set aside as dead letters in the database, where operators can
//! see it.
//!
//! It consumes the queues of dead commands, dead emails and unrouted messages. A message is acknowledged only after
//! its row is committed; one that comes again is recognised. It judges nothing: what to do with a dead letter is an
//! operator's decision.

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use loyalty_common::amqp::Heartbeat;
use loyalty_common::backoff::SessionProgress;
use loyalty_common::decode::decode;
use loyalty_common::envelope::TraceContext;
use loyalty_common::error_chain::chain;
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology;
use loyalty_store::dead_letters::{self, NewDeadLetter, Reason};
use loyalty_store::emails::{EmailId, request};
use loyalty_store::{Pool, StoreError};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::field::display;
use tracing::warn;

use crate::consumer_session::{ConsumerSession, SessionError};
use crate::dead_letter::dead_letter;
use crate::demand::Demand;
use crate::headers::storable;
use crate::metrics::{Part, Reconnects};
use crate::queue_consumer::{DeliveryGuard, Subscription};
use crate::queue_states::QueueStates;
use crate::supervise::supervise;

/// Messages in flight, and so the most of one transaction. Dead letters are rare, and an unrouted one may be as large
/// as the broker allows (16 MiB by default), so a few are enough.
const PREFETCH: u16 = 32;

/// Stores dead letters until `shutdown`.
pub async fn run(
    amqp: SecretUrl,
    pool: Pool,
    reconnects: Reconnects,
    states: QueueStates,
    shutdown: CancellationToken,
) {
    let consumer = DeadLetterConsumer { amqp, pool, states };
    supervise(Part::DeadLetters, &reconnects, &shutdown, |progress| consumer.session(&shutdown, progress)).await;
}

struct DeadLetterConsumer {
    amqp: SecretUrl,
    pool: Pool,
    states: QueueStates,
}

/// A queue of messages that the broker set aside.
#[derive(Clone, Copy, Debug)]
struct Source {
    queue: &'static str,
    reason: Reason,
}

const SOURCES: [Source; 3] = [
    Source { queue: topology::DEAD_COMMANDS, reason: Reason::Crashed },
    Source { queue: topology::DEAD_EMAILS, reason: Reason::Crashed },
    Source { queue: topology::UNROUTED, reason: Reason::Unrouted },
];

#[derive(Debug, thiserror::Error)]
#[error("could not store dead letters")]
struct NotStored(#[from] StoreError);

/// A message on its way into the database.
struct DeadLetter {
    source: Source,
    delivery: Delivery,
    guard: DeliveryGuard,
}

impl DeadLetterConsumer {
    async fn session(
        &self,
        stop: &CancellationToken,
        progress: SessionProgress,
    ) -> Result<(), SessionError<NotStored>> {
        // Asked first: what is delivered while the database is away comes again, and each time is counted.
        self.pool.ping().await.map_err(|error| SessionError::Handler(error.into()))?;
        let (sender, dead_letters) = mpsc::channel(usize::from(PREFETCH));
        let subscription = |source: Source| Subscription {
            queue: source.queue.to_owned(),
            tag: "loyalty-dead-letters".to_owned(),
            read: Box::new(move |delivery, guard| DeadLetter { source, delivery, guard }),
            sender: sender.clone(),
            demand: Demand::always(),
        };
        let session = ConsumerSession {
            amqp: &self.amqp,
            name: "dead letters",
            heartbeat: Heartbeat::Usual,
            prefetch: PREFETCH,
            queues: SOURCES.map(subscription).into(),
            states: &self.states,
            changed: &|| {},
        };
        session.run(Box::pin(self.keep_all(dead_letters, stop)), stop, &progress).await
    }

    /// A batch that was begun is finished before `stop` is looked at again.
    async fn keep_all(
        &self,
        mut dead_letters: mpsc::Receiver<DeadLetter>,
        stop: &CancellationToken,
    ) -> Result<(), NotStored> {
        let mut batch = Vec::new();
        while let Some(1..) = stop.run_until_cancelled(dead_letters.recv_many(&mut batch, usize::from(PREFETCH))).await
        {
            self.keep(&batch).await?;
            batch.clear();
        }
        Ok(())
    }

    /// One transaction, then the acknowledgements.
    async fn keep(&self, batch: &[DeadLetter]) -> Result<(), NotStored> {
        let dead_letters: Vec<NewDeadLetter> =
            batch.iter().map(|dead_letter| kept(dead_letter.source, &dead_letter.delivery)).collect();
        self.store(&dead_letters).await?;
        for (dead_letter, DeadLetter { delivery, guard, .. }) in dead_letters.iter().zip(batch) {
            let (queue, reason, error) = (&dead_letter.source, dead_letter.reason, &dead_letter.error);
            let (command, email) = (dead_letter.command_id.map(display), dead_letter.email_id.map(display));
            let trace = TraceContext::of(&delivery.properties);
            let trace = trace.as_ref().map(TraceContext::trace_id);
            warn!(queue, %reason, error, command.id = command, email.id = email, trace.id = trace, "Stored a dead letter");
            // One whose channel is gone comes again, and is recognised.
            guard.acknowledge(&delivery.acker, false).await;
        }
        Ok(())
    }

    /// All in one transaction. When the database refuses what one of them holds, each in its own: the others must not
    /// wait for it. A dead letter that is refused even so is kept without anything but its body.
    async fn store(&self, dead_letters: &[NewDeadLetter]) -> Result<(), StoreError> {
        if !is_refused(dead_letters::keep(&self.pool, dead_letters).await)? {
            return Ok(());
        }
        for dead_letter in dead_letters {
            let kept = dead_letters::keep(&self.pool, std::slice::from_ref(dead_letter)).await;
            if is_refused(kept)? {
                dead_letters::keep(&self.pool, &[bare(dead_letter)]).await?;
            }
        }
        Ok(())
    }
}

/// Whether the database refused the dead letters themselves. Any other failure is passed on.
fn is_refused(kept: Result<(), StoreError>) -> Result<bool, StoreError> {
    match kept {
        Ok(()) => Ok(false),
        Err(error) if error.is_content_refused() => {
            warn!(error = chain(&error), "PostgreSQL refuses a dead letter; storing it without what it refuses");
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// The dead letter with its body and nothing else that came from outside.
fn bare(dead_letter: &NewDeadLetter) -> NewDeadLetter {
    NewDeadLetter {
        source: dead_letter.source.clone(),
        reason: dead_letter.reason,
        error: "the database refused its headers and where it came from; the body is as it came".to_owned(),
        member_id: None,
        command_id: None,
        command_type: None,
        email_id: None,
        exchange: String::new(),
        routing_key: String::new(),
        message_id: None,
        headers: Value::Object(Map::new()),
        body: dead_letter.body.clone(),
        repeated: dead_letter.repeated,
    }
}

fn kept(source: Source, delivery: &Delivery) -> NewDeadLetter {
    let last = last_death(&delivery.properties);
    let command = decode(&delivery.data).ok();
    let (exchange, routing_key) = origin(delivery, last);
    let reason = reason(source, last);
    NewDeadLetter {
        member_id: command.as_ref().map(|command| command.member_id.to_string()),
        command_id: command.as_ref().map(|command| command.command_id.uuid()),
        command_type: command.as_ref().map(|command| command.command_type().to_string()),
        email_id: request::decode(&delivery.data).ok().map(EmailId::uuid),
        exchange,
        routing_key,
        ..dead_letter(delivery, source.queue.to_owned(), reason, explanation(reason, last))
    }
}

/// The newest entry of the header in which the broker keeps why and where a message died.
fn last_death(properties: &BasicProperties) -> Option<&FieldTable> {
    properties.headers().as_ref()?.inner().get("x-death")?.as_array()?.as_slice().first()?.as_field_table()
}

/// What the broker's name for the reason means. Everything else that ends in a queue of dead messages was delivered too
/// often, or given up by a consumer that is none of ours.
fn reason(source: Source, last: Option<&FieldTable>) -> Reason {
    match (source.reason, field(last, "reason").as_deref()) {
        (Reason::Crashed, Some("expired")) => Reason::Expired,
        (as_usual, _) => as_usual,
    }
}

fn explanation(reason: Reason, last: Option<&FieldTable>) -> String {
    match (field(last, "queue"), field(last, "reason")) {
        (Some(queue), _) if reason == Reason::Expired => match field(last, "original-expiration") {
            Some(ms) => format!("it waited on {queue} for longer than its publisher's `expiration`, {ms} ms"),
            None => format!("it waited on {queue} for longer than a policy of RabbitMQ lets it"),
        },
        (Some(queue), Some(why)) => format!("RabbitMQ gave it up on {queue}: {why}"),
        (_, _) if reason == Reason::Unrouted => "no queue takes its exchange and routing key".to_owned(),
        (_, _) => "RabbitMQ gave it up".to_owned(),
    }
}

fn field(death: Option<&FieldTable>, name: &str) -> Option<String> {
    text(death?.inner().get(name)?)
}

/// Where it was published to, before the broker moved it.
fn origin(delivery: &Delivery, last: Option<&FieldTable>) -> (String, String) {
    let exchange = field(last, "exchange");
    let key = last.and_then(|death| text(death.inner().get("routing-keys")?.as_array()?.as_slice().first()?));
    let as_delivered = || (storable(delivery.exchange.as_str()), storable(delivery.routing_key.as_str()));
    exchange.zip(key).unwrap_or_else(as_delivered)
}

fn text(value: &AMQPValue) -> Option<String> {
    match (value.as_long_string(), value.as_short_string()) {
        (Some(long), _) => Some(storable(&String::from_utf8_lossy(long.as_bytes()))),
        (_, Some(short)) => Some(storable(short.as_str())),
        (None, None) => None,
    }
}
