//! The keeper: stores what the broker set aside as dead letters in the database, where operators can see it.
//!
//! It consumes the queues of dead commands, dead mails and unrouted messages. A message is acknowledged only after
//! its row is committed; one that comes again is recognised. It judges nothing: what to do with a letter is an
//! operator's decision.

use futures_util::stream::{BoxStream, SelectAll};
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, Consumer};
use loyalty_common::amqp::{self, ConnectError};
use loyalty_common::decode::decode;
use loyalty_common::envelope::TraceContext;
use loyalty_common::publisher::chain;
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology;
use loyalty_store::dead_letter::{self, NewDeadLetter, Reason};
use loyalty_store::email::{EmailId, request};
use loyalty_store::{Pool, StoreError};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use tracing::field::display;
use tracing::warn;

use crate::headers::storable;
use crate::letter::letter;
use crate::metrics::{Part, Reconnects};
use crate::supervise::supervise;

/// Messages in hand, and so the most of one transaction. Letters are rare, and an unrouted one may be as large as the
/// broker allows (16 MiB by default), so a few are enough.
const PREFETCH: u16 = 32;

/// Stores dead letters until `shutdown`.
pub async fn run(amqp: SecretUrl, pool: Pool, reconnects: Reconnects, shutdown: CancellationToken) {
    let keeper = Keeper { amqp, pool };
    supervise(Part::Keeper, &reconnects, &shutdown, || keeper.session(&shutdown)).await;
}

struct Keeper {
    amqp: SecretUrl,
    pool: Pool,
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
    #[error("could not consume {queue}; is the topology declared?")]
    Consume { queue: &'static str, source: lapin::Error },
    #[error("RabbitMQ did not let the queues of dead letters be consumed within 15 seconds")]
    Slow,
    #[error("deliveries of dead letters broke off")]
    Delivery(#[source] lapin::Error),
    #[error("the broker ended the deliveries of {queue}")]
    Ended { queue: &'static str },
    #[error("could not store dead letters")]
    Store(#[from] StoreError),
    #[error("could not acknowledge dead letters")]
    Ack(#[source] lapin::Error),
    #[error("dead letters could not be acknowledged: their channel is gone")]
    ChannelGone,
}

type Letter = (Source, Delivery);
type Deliveries = SelectAll<BoxStream<'static, Result<Letter, KeeperError>>>;

impl Keeper {
    async fn session(&self, shutdown: &CancellationToken) -> Result<(), KeeperError> {
        // Asked first: what is delivered while the database is away comes again, and each time is counted.
        self.pool.ping().await?;
        let connection = amqp::connect(&self.amqp, "keeper").await?;
        let kept = amqp::while_connected(&connection, self.keep_all(&connection, shutdown)).await;
        amqp::close(&connection).await;
        kept.map_err(KeeperError::Lost)?
    }

    async fn keep_all(&self, connection: &Connection, shutdown: &CancellationToken) -> Result<(), KeeperError> {
        let opening = tokio::time::timeout(amqp::OPEN_TIMEOUT, consume(connection));
        let Some(opened) = shutdown.run_until_cancelled(opening).await else {
            return Ok(());
        };
        let mut deliveries = opened.map_err(|_| KeeperError::Slow)??;
        // A batch that was begun is finished before `shutdown` is looked at again.
        while let Some(Some(first)) = shutdown.run_until_cancelled(deliveries.next()).await {
            let batch = with_those_there(first?, &mut deliveries)?;
            self.keep(&batch).await?;
        }
        Ok(())
    }

    /// One transaction, then the acknowledgements.
    async fn keep(&self, batch: &[Letter]) -> Result<(), KeeperError> {
        let letters: Vec<NewDeadLetter> = batch.iter().map(|(source, delivery)| kept(*source, delivery)).collect();
        self.store(&letters).await?;
        for (letter, (_, delivery)) in letters.iter().zip(batch) {
            let (queue, reason, error) = (&letter.source, letter.reason, &letter.error);
            let (command, mail) = (letter.command_id.map(display), letter.email_id.map(display));
            let trace = TraceContext::of(&delivery.properties);
            let trace = trace.as_ref().map(TraceContext::trace_id);
            warn!(queue, %reason, error, command.id = command, email.id = mail, trace.id = trace, "Kept a dead letter");
            // One by one: the letters of three queues share the channel and are not in the order of its numbers.
            match delivery.acker.ack(BasicAckOptions::default()).await {
                Ok(true) => {}
                Ok(false) => return Err(KeeperError::ChannelGone),
                Err(error) => return Err(KeeperError::Ack(error)),
            }
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

async fn consume(connection: &Connection) -> Result<Deliveries, KeeperError> {
    let mut deliveries = SelectAll::new();
    for source in SOURCES {
        let failed = |error| KeeperError::Consume { queue: source.queue, source: error };
        let channel = connection.create_channel().await.map_err(failed)?;
        let consumer = consumer(&channel, source).await.map_err(failed)?;
        let letters = consumer.map(move |delivery| Ok((source, delivery.map_err(KeeperError::Delivery)?)));
        // The others would go on without this queue, and nobody would notice.
        let ended = futures_util::stream::once(std::future::ready(Err(KeeperError::Ended { queue: source.queue })));
        deliveries.push(letters.chain(ended).boxed());
    }
    Ok(deliveries)
}

async fn consumer(channel: &Channel, source: Source) -> Result<Consumer, lapin::Error> {
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let (queue, tag) = (source.queue.into(), "loyalty-keeper".into());
    channel.basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default()).await
}

/// The first letter and those that came with it, without waiting for more.
fn with_those_there(first: Letter, deliveries: &mut Deliveries) -> Result<Vec<Letter>, KeeperError> {
    let mut batch = vec![first];
    while batch.len() < usize::from(PREFETCH) {
        match deliveries.next().now_or_never() {
            Some(Some(letter)) => batch.push(letter?),
            // Nothing more is there now; the end of the stream is met again by the next wait.
            Some(None) | None => break,
        }
    }
    Ok(batch)
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
