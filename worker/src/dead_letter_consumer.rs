//! The keeper: stores what the broker set aside as dead letters in the database, where operators can see it.
//!
//! It consumes the queues of dead commands, dead mails and unrouted messages. A message is acknowledged only after
//! its row is committed; one that comes again is recognised. It judges nothing: what to do with a letter is an
//! operator's decision.

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use loyalty_common::amqp::{self, ConnectError};
use loyalty_common::backoff::Proof;
use loyalty_common::decode::decode;
use loyalty_common::envelope::TraceContext;
use loyalty_common::publisher::chain;
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology;
use loyalty_store::dead_letter::{self, NewDeadLetter, Reason};
use loyalty_store::email::{EmailId, request};
use loyalty_store::{Pool, StoreError};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::field::display;
use tracing::warn;

use crate::headers::storable;
use crate::letter::letter;
use crate::metrics::{Part, Reconnects};
use crate::queue_consumer::{Connections, ConsumeError, Deliveries, Hold, Opened, QueueConsumer};
use crate::queue_states::QueueStates;
use crate::supervise::supervise;

/// Messages in hand, and so the most of one transaction. Letters are rare, and an unrouted one may be as large as the
/// broker allows (16 MiB by default), so a few are enough.
const PREFETCH: u16 = 32;

/// Stores dead letters until `shutdown`.
pub async fn run(
    amqp: SecretUrl,
    pool: Pool,
    reconnects: Reconnects,
    states: QueueStates,
    shutdown: CancellationToken,
) {
    let keeper = Keeper { amqp, pool, states };
    supervise(Part::Keeper, &reconnects, &shutdown, |proof| keeper.session(&shutdown, proof)).await;
}

struct Keeper {
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

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("lost the connection")]
    Lost(#[source] lapin::Error),
    #[error("could not consume {queue}")]
    Consume { queue: &'static str, source: ConsumeError },
    #[error("could not store dead letters")]
    Store(#[from] StoreError),
}

/// A message on its way into the database.
struct Letter {
    source: Source,
    delivery: Delivery,
    hold: Hold,
}

impl Keeper {
    async fn session(&self, shutdown: &CancellationToken, proof: Proof) -> Result<(), KeeperError> {
        // Asked first: what is delivered while the database is away comes again, and each time is counted.
        self.pool.ping().await?;
        let connections = Connections::open(&self.amqp, "keeper").await?;
        let mut consumers = FuturesUnordered::new();
        let keeping = self.keep_all(&connections, &mut consumers, shutdown, &proof);
        let kept = amqp::while_connected(&connections.shared, keeping).await;
        connections.close().await;
        drop(consumers);
        self.states.session_ended(&SOURCES.map(|source| source.queue));
        kept.map_err(KeeperError::Lost)?
    }

    /// Each queue for itself: one that is missing keeps nobody from the others.
    async fn keep_all<'a>(
        &'a self,
        connections: &'a Connections<'a>,
        consumers: &mut FuturesUnordered<BoxFuture<'a, ()>>,
        shutdown: &'a CancellationToken,
        proof: &Proof,
    ) -> Result<(), KeeperError> {
        let (sender, mut letters) = mpsc::channel(usize::from(PREFETCH));
        for source in SOURCES {
            let failed = |error| KeeperError::Consume { queue: source.queue, source: error };
            let first = self.consumer(source).first(connections).await.map_err(failed)?;
            consumers.push(Box::pin(self.consume(source, connections, first, sender.clone(), shutdown)));
        }
        drop(sender);
        proof.opened();
        let keeping = async {
            let mut batch = Vec::new();
            // A batch that was begun is finished before `shutdown` is looked at again.
            while let Some(1..) =
                shutdown.run_until_cancelled(letters.recv_many(&mut batch, usize::from(PREFETCH))).await
            {
                self.keep(&batch).await?;
                batch.clear();
            }
            Ok(())
        };
        let consuming = async {
            while consumers.next().await.is_some() {}
            std::future::pending().await
        };
        tokio::select! {
            kept = keeping => kept,
            never = consuming => never,
        }
    }

    fn consumer(&self, source: Source) -> QueueConsumer {
        let (queue, tag) = (source.queue.to_owned(), "loyalty-keeper".to_owned());
        QueueConsumer { queue, tag, prefetch: PREFETCH, states: self.states.clone() }
    }

    async fn consume(
        &self,
        source: Source,
        connections: &Connections<'_>,
        first: Option<Opened>,
        sender: mpsc::Sender<Letter>,
        leave: &CancellationToken,
    ) {
        let read = Box::new(move |delivery, hold| Letter { source, delivery, hold });
        let deliveries = Deliveries { read, sender, changed: Box::new(|| {}) };
        self.consumer(source).run(connections, first, &deliveries, leave).await;
    }

    /// One transaction, then the acknowledgements.
    async fn keep(&self, batch: &[Letter]) -> Result<(), KeeperError> {
        let letters: Vec<NewDeadLetter> = batch.iter().map(|letter| kept(letter.source, &letter.delivery)).collect();
        self.store(&letters).await?;
        for (letter, Letter { delivery, hold, .. }) in letters.iter().zip(batch) {
            let (queue, reason, error) = (&letter.source, letter.reason, &letter.error);
            let (command, mail) = (letter.command_id.map(display), letter.email_id.map(display));
            let trace = TraceContext::of(&delivery.properties);
            let trace = trace.as_ref().map(TraceContext::trace_id);
            warn!(queue, %reason, error, command.id = command, email.id = mail, trace.id = trace, "Kept a dead letter");
            // One whose channel is gone comes again, and is recognised.
            hold.acknowledge(&delivery.acker, false).await;
        }
        Ok(())
    }

    /// All in one transaction. When the database refuses what one of them holds, each in its own: the others must not
    /// wait for it. A letter that is refused even so is kept without anything but its body.
    async fn store(&self, letters: &[NewDeadLetter]) -> Result<(), StoreError> {
        if !is_refused(dead_letter::keep(&self.pool, letters).await)? {
            return Ok(());
        }
        for letter in letters {
            let kept = dead_letter::keep(&self.pool, std::slice::from_ref(letter)).await;
            if is_refused(kept)? {
                dead_letter::keep(&self.pool, &[bare(letter)]).await?;
            }
        }
        Ok(())
    }
}

/// Whether the database refused the letters themselves. Any other failure is passed on.
fn is_refused(kept: Result<(), StoreError>) -> Result<bool, StoreError> {
    match kept {
        Ok(()) => Ok(false),
        Err(error) if error.is_content_refused() => {
            warn!(error = chain(&error), "The database refuses what a dead letter holds");
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// The letter with its body and nothing else that came from outside.
fn bare(letter: &NewDeadLetter) -> NewDeadLetter {
    NewDeadLetter {
        source: letter.source.clone(),
        reason: letter.reason,
        error: "the database refused its headers and where it came from; the body is as it came".to_owned(),
        member_id: None,
        command_id: None,
        command_type: None,
        email_id: None,
        exchange: String::new(),
        routing_key: String::new(),
        message_id: None,
        headers: Value::Object(Map::new()),
        body: letter.body.clone(),
        repeated: letter.repeated,
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
        ..letter(delivery, source.queue.to_owned(), reason, explanation(reason, last))
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
