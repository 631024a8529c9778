//! The keeper: stores what the broker set aside as dead letters in the database, where operators can see it.
//!
//! It consumes the queues of dead commands, dead mails and unrouted messages. A message is acknowledged only after
//! its row is committed; one that comes again is recognised. It judges nothing: what to do with a letter is an
//! operator's decision.

use futures_util::stream::{FusedStream, SelectAll, select_all};
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer};
use loyalty_common::amqp::{self, ConnectError};
use loyalty_common::decode::decode;
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology;
use loyalty_store::dead_letter::{self, NewDeadLetter, Reason};
use loyalty_store::{Pool, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::headers;
use crate::mail::request;
use crate::supervise::supervise;

/// Messages in hand, and so the most of one transaction. Letters are rare, and an unrouted one may be as large as the
/// broker allows (16 MiB by default), so a few are enough.
const PREFETCH: u16 = 32;

/// Stores dead letters until `shutdown`.
pub async fn run(amqp: SecretUrl, pool: Pool, shutdown: CancellationToken) {
    let keeper = Keeper { amqp, pool };
    supervise("keeper", &shutdown, || keeper.session(&shutdown)).await;
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
    #[error("could not consume {queue}; is the topology declared?")]
    Consume { queue: &'static str, source: lapin::Error },
    #[error("deliveries of dead letters broke off")]
    Delivery(#[source] lapin::Error),
    #[error("the broker ended the deliveries of dead letters")]
    Ended,
    #[error("could not store dead letters")]
    Store(#[from] StoreError),
    #[error("could not acknowledge dead letters")]
    Ack(#[source] lapin::Error),
    #[error("dead letters could not be acknowledged: their channel is gone")]
    ChannelGone,
}

type Deliveries = SelectAll<futures_util::stream::BoxStream<'static, (Source, lapin::Result<Delivery>)>>;

impl Keeper {
    async fn session(&self, shutdown: &CancellationToken) -> Result<(), KeeperError> {
        // Asked first: what is delivered while the database is away comes again, and each time is counted.
        self.pool.ping().await?;
        let connection = amqp::connect(&self.amqp, "keeper").await?;
        let result = self.keep_all(&connection, shutdown).await;
        amqp::close(&connection).await;
        result
    }

    async fn keep_all(&self, connection: &Connection, shutdown: &CancellationToken) -> Result<(), KeeperError> {
        let mut deliveries = consume(connection).await?;
        // A batch that was begun is finished before `shutdown` is looked at again.
        while let Some(first) = shutdown.run_until_cancelled(deliveries.next()).await {
            let batch = with_what_is_there(first, &mut deliveries)?;
            self.keep(&batch).await?;
        }
        Ok(())
    }

    /// One transaction, then the acknowledgements.
    async fn keep(&self, batch: &[(Source, Delivery)]) -> Result<(), KeeperError> {
        let letters: Vec<NewDeadLetter> = batch.iter().map(|(source, delivery)| letter(*source, delivery)).collect();
        dead_letter::keep(&self.pool, &letters).await?;
        for (letter, (_, delivery)) in letters.iter().zip(batch) {
            let (queue, reason, error) = (&letter.source, letter.reason, &letter.error);
            let (command, mail) = (letter.command_id, letter.email_id);
            warn!(queue, %reason, error, command.id = ?command, email.id = ?mail, "Kept a dead letter");
            // One by one: the letters of three queues share the channel and are not in the order of its numbers.
            match delivery.acker.ack(BasicAckOptions::default()).await {
                Ok(true) => {}
                Ok(false) => return Err(KeeperError::ChannelGone),
                Err(error) => return Err(KeeperError::Ack(error)),
            }
        }
        Ok(())
    }
}

async fn consume(connection: &Connection) -> Result<Deliveries, KeeperError> {
    let mut consumers = Vec::new();
    for source in SOURCES {
        let failed = |error| KeeperError::Consume { queue: source.queue, source: error };
        let channel = connection.create_channel().await.map_err(failed)?;
        let consumer = consumer(&channel, source).await.map_err(failed)?;
        consumers.push(consumer.map(move |delivery| (source, delivery)).boxed());
    }
    Ok(select_all(consumers))
}

async fn consumer(channel: &Channel, source: Source) -> Result<Consumer, lapin::Error> {
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let (queue, tag) = (source.queue.into(), "loyalty-keeper".into());
    channel.basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default()).await
}
