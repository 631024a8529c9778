//! One queue, consumed for as long as it can be: on a channel of its own, and out alone when it cannot be.
//!
//! RabbitMQ answers who consumes a quorum queue without a leader with an internal error, which ends the connection with
//! all that hangs on it. So a queue that could not be consumed is tried again on a connection of its own, and stays on
//! it until the session ends; on the connection that all share, each queue is tried once only, at the beginning.
//! What becomes of a delivery is not decided here: who has it acknowledges it by its [`Hold`], which tells its queue when
//! the channel is of no use.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Connection, Consumer, ErrorKind};
use loyalty_common::amqp::{self, ConnectError};
use loyalty_common::backoff::{Backoff, Proof};
use loyalty_common::publisher::chain;
use loyalty_common::secret::SecretUrl;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::queue_states::{QueueStates, Why};

/// How long a queue may take to answer that it can be consumed. It takes milliseconds; one that stands without a leader
/// never answers. While all share a connection, the queues behind it wait so long, once.
const CONSUME_TIMEOUT: Duration = Duration::from_secs(5);

/// How long what is in hand may take to be settled before its channel is closed. A batch takes milliseconds; while the
/// database is away it goes back to the queue instead.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an acknowledgement may take to be written. lapin never answers one that meets the end of its connection.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a channel that is of no use may take to close. Nobody waits for it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The connections of one session: one that all queues share, and one for each queue that has been out.
pub(crate) struct Connections<'a> {
    amqp: &'a SecretUrl,
    name: &'static str,
    pub(crate) shared: Connection,
    own: Mutex<BTreeMap<String, Arc<Connection>>>,
}

impl<'a> Connections<'a> {
    pub(crate) async fn open(amqp: &'a SecretUrl, name: &'static str) -> Result<Self, ConnectError> {
        Ok(Self { amqp, name, shared: amqp::connect(amqp, name).await?, own: Mutex::default() })
    }

    /// Closes all, before the consumers on them are dropped: dropping one cancels it, which would hand its queue to
    /// the next worker while deliveries of ours are unacknowledged.
    pub(crate) async fn close(&self) {
        let own: Vec<_> = std::mem::take(&mut *self.lock()).into_values().collect();
        let all = own.iter().map(AsRef::as_ref).chain([&self.shared]).map(amqp::close);
        futures_util::future::join_all(all).await;
    }

    async fn one_for(&self, queue: &str) -> Result<Arc<Connection>, ConnectError> {
        let connection = Arc::new(amqp::connect(self.amqp, self.name).await?);
        self.lock().insert(queue.to_owned(), Arc::clone(&connection));
        Ok(connection)
    }

    async fn close_own(&self, queue: &str) {
        let own = self.lock().remove(queue);
        if let Some(connection) = own {
            amqp::close(&connection).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Connection>>> {
        self.own.lock().expect("nobody panics while holding it")
    }
}

/// A queue and how it is consumed.
#[derive(Clone, Debug)]
pub(crate) struct QueueConsumer {
    pub(crate) queue: String,
    /// Under which name the broker lists us.
    pub(crate) tag: String,
    pub(crate) prefetch: u16,
    pub(crate) states: QueueStates,
}

/// Where deliveries go.
pub(crate) struct Deliveries<'a, T> {
    /// What is made of one.
    pub(crate) read: Box<dyn Fn(Delivery, Hold) -> T + Send + Sync + 'a>,
    pub(crate) sender: mpsc::Sender<T>,
    /// Called when the queue goes out or is back.
    pub(crate) changed: Box<dyn Fn() + Send + Sync + 'a>,
}

/// A channel with its consumer.
pub(crate) struct Opened {
    channel: Channel,
    consumer: Consumer,
    hold: Arc<Channelful>,
}

/// What is in hand of one channel.
#[derive(Debug, Default)]
struct Channelful {
    in_hand: TaskTracker,
    unusable: Notify,
    /// How many deliveries came.
    delivered: AtomicU64,
}

/// Held with each delivery until it is settled or dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    of: Arc<Channelful>,
    _counted: TaskTrackerToken,
}

impl Hold {
    /// Acknowledges a delivery of this channel, in the order of the calls. False: the channel is of no use, and what it
    /// delivered comes again on another; its queue is told, and nothing else is to be done.
    #[expect(clippy::disallowed_methods, reason = "the place where commands and what RabbitMQ gave up are settled")]
    pub(crate) async fn acknowledge(&self, acker: &Acker, multiple: bool) -> bool {
        let acknowledged = timeout(ACK_TIMEOUT, acker.ack(BasicAckOptions { multiple })).await;
        let done = matches!(acknowledged, Ok(Ok(true)));
        if !done {
            self.of.unusable.notify_one();
        }
        done
    }
}

/// Why a queue cannot be consumed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsumeError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("RabbitMQ opened no channel within {} seconds", CONSUME_TIMEOUT.as_secs())]
    NoChannel,
    #[error("could not be consumed")]
    Refused(#[source] lapin::Error),
    #[error("gave no answer within {} seconds", CONSUME_TIMEOUT.as_secs())]
    NoAnswer,
    #[error("deliveries broke off")]
    Delivery(#[source] lapin::Error),
    #[error("RabbitMQ ended the deliveries")]
    Ended,
    #[error("an acknowledgement could not be sent")]
    Unsettled,
    #[error("does not know of its consumer")]
    Unknown,
}

impl ConsumeError {
    fn why(&self) -> Why {
        match self {
            Self::NoChannel | Self::NoAnswer | Self::Unknown => Why::NoAnswer,
            Self::Ended => Why::Ended,
            Self::Connect(_) | Self::Unsettled => Why::Broken,
            Self::Refused(error) | Self::Delivery(error) => why(error),
        }
    }
}

/// What an error of the broker says of a queue.
pub(crate) fn why(error: &lapin::Error) -> Why {
    let ErrorKind::ProtocolError(refusal) = error.kind() else { return Why::Broken };
    match refusal.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Why::Missing,
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED | AMQPSoftError::RESOURCELOCKED) => Why::Refused,
        AMQPErrorKind::Hard(AMQPHardError::INTERNALERROR) => Why::NoAnswer,
        // What else a broker may say of a queue is in the log.
        AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => Why::Broken,
    }
}

impl QueueConsumer {
    /// Consumes on the connection that all share. None: the queue is out, and to be tried on one of its own. An error
    /// is about the connection.
    pub(crate) async fn first(&self, connections: &Connections<'_>) -> Result<Option<Opened>, ConsumeError> {
        if self.states.is_out(&self.queue) {
            return Ok(None);
        }
        match self.consume(&connections.shared).await {
            Ok(opened) => {
                self.states.in_use(&self.queue);
                Ok(Some(opened))
            }
            Err(error @ ConsumeError::NoChannel) => Err(error),
            Err(error) => {
                let lost = !connections.shared.status().connected();
                // Who ends the connection by being consumed is not consumed on it again.
                if !lost || error.why() == Why::NoAnswer {
                    self.states.goes_out(&self.queue, error.why(), &chain(&error));
                }
                if lost { Err(error) } else { Ok(None) }
            }
        }
    }

    /// Reads what is delivered into `into`, and consumes the queue anew whenever that breaks off, until `leave`: then
    /// what is in hand is finished and the channel closed. `changed` is called when the queue goes out or is back. Once
    /// the connection that all share is lost it does nothing more.
    pub(crate) async fn run<T>(
        &self,
        connections: &Connections<'_>,
        mut opened: Option<Opened>,
        into: &Deliveries<'_, T>,
        leave: &CancellationToken,
    ) {
        let mut backoff = Backoff::default();
        while !leave.is_cancelled() {
            let proof = Proof::default();
            if let Some(opened) = opened.take() {
                proof.opened();
                if self.serve(opened, connections, into, leave).await {
                    break;
                }
                connections.close_own(&self.queue).await;
            }
            let again = async {
                tokio::time::sleep(backoff.wait_after(&proof)).await;
                self.again(connections).await
            };
            opened = leave.run_until_cancelled(again).await.flatten();
            (into.changed)();
        }
        connections.close_own(&self.queue).await;
    }

    /// Consumes on a connection of the queue's own.
    async fn again(&self, connections: &Connections<'_>) -> Option<Opened> {
        let consuming = async {
            let connection = connections.one_for(&self.queue).await?;
            self.consume(&connection).await
        };
        match consuming.await {
            Ok(opened) => {
                self.states.in_use(&self.queue);
                Some(opened)
            }
            Err(error) => {
                connections.close_own(&self.queue).await;
                self.goes_out(connections, &error).await;
                None
            }
        }
    }

    /// Says that the queue is out, unless it is the broker that is away: then its session ends, and with it this.
    async fn goes_out(&self, connections: &Connections<'_>, error: &ConsumeError) {
        if !connections.shared.status().connected() {
            std::future::pending::<()>().await;
        }
        self.states.goes_out(&self.queue, error.why(), &chain(error));
    }

    /// Hands deliveries over until it cannot, and closes the channel once what is in hand is settled. True: it was told
    /// to leave.
    async fn serve<T>(
        &self,
        mut opened: Opened,
        connections: &Connections<'_>,
        into: &Deliveries<'_, T>,
        leave: &CancellationToken,
    ) -> bool {
        let hold = Arc::clone(&opened.hold);
        let ended = tokio::select! {
            error = opened.hand_all(into) => Some(error),
            () = hold.unusable.notified() => Some(ConsumeError::Unsettled),
            () = self.is_forgotten(&hold) => Some(ConsumeError::Unknown),
            () = leave.cancelled() => None,
        };
        if let Some(error) = &ended {
            self.goes_out(connections, error).await;
            (into.changed)();
        }
        hold.in_hand.close();
        let closing = close(opened.channel, Some(opened.consumer));
        if ended.is_none() {
            hold.in_hand.wait().await;
            closing.await;
            return true;
        }
        // Too long: the database is away. What is in hand comes again.
        let _ = timeout(FINISH_TIMEOUT, hold.in_hand.wait()).await;
        tokio::spawn(closing);
        false
    }

    /// Returns when the queue says again and again that it has no consumer, and has delivered nothing meanwhile: one that
    /// only is slow to answer says so too.
    async fn is_forgotten(&self, hold: &Channelful) {
        loop {
            let before = hold.delivered.load(Ordering::Relaxed);
            self.states.is_unknown_to(&self.queue).await;
            if hold.delivered.load(Ordering::Relaxed) == before {
                return;
            }
            self.states.in_use(&self.queue);
        }
    }

    /// A channel, and its consumer, each within a bound. lapin may never answer for a queue that is stuck; its channel
    /// is closed behind us.
    async fn consume(&self, connection: &Connection) -> Result<Opened, ConsumeError> {
        let channel = timeout(CONSUME_TIMEOUT, connection.create_channel()).await;
        let channel = channel.map_err(|_| ConsumeError::NoChannel)?.map_err(ConsumeError::Refused)?;
        let consuming = async {
            channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
            let (queue, tag) = (self.queue.as_str().into(), self.tag.as_str().into());
            channel.basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default()).await
        };
        match timeout(CONSUME_TIMEOUT, amqp::while_connected(connection, consuming)).await {
            Ok(Ok(Ok(consumer))) => Ok(Opened { channel, consumer, hold: Arc::default() }),
            Ok(Ok(Err(error)) | Err(error)) => Err(ConsumeError::Refused(error)),
            Err(_) => {
                tokio::spawn(close(channel, None));
                Err(ConsumeError::NoAnswer)
            }
        }
    }
}

impl Opened {
    /// Reads all that is delivered. Ends when nothing more comes; never, if nobody takes it any more.
    async fn hand_all<T>(&mut self, into: &Deliveries<'_, T>) -> ConsumeError {
        while let Some(delivery) = self.consumer.next().await {
            let delivery = match delivery {
                Ok(delivery) => delivery,
                Err(error) => return ConsumeError::Delivery(error),
            };
            self.hold.delivered.fetch_add(1, Ordering::Relaxed);
            let hold = Hold { of: Arc::clone(&self.hold), _counted: self.hold.in_hand.token() };
            if into.sender.send((into.read)(delivery, hold)).await.is_err() {
                return std::future::pending().await;
            }
        }
        ConsumeError::Ended
    }
}

/// Closes a channel in good order; its consumer is dropped after it, since dropping one cancels it.
async fn close(channel: Channel, consumer: Option<Consumer>) {
    let _ = timeout(CLOSE_TIMEOUT, channel.close(REPLY_SUCCESS, "done".into())).await;
    drop(consumer);
}
