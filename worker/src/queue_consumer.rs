//! One queue, consumed for as long as it can be: on a channel of its own, and out alone when it cannot be.
//!
//! RabbitMQ answers who consumes a quorum queue without a leader with an internal error, which ends the connection with
//! all that hangs on it. So a queue that could not be consumed is tried again on a connection of its own, and stays on
//! it until its turn or the session ends; on the connection that all share, each queue is tried once only in a turn, one
//! after the other, so that it is known who ends it.
//! What becomes of a delivery is not decided here: who has it acknowledges it by its [`DeliveryGuard`], which tells its
//! queue when the channel is of no use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Connection, Consumer, ErrorKind};
use loyalty_common::amqp::{self, ConnectError};
use loyalty_common::backoff::{Backoff, SessionProgress};
use loyalty_common::error_chain::chain;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::assignment::Turn;
use crate::connections::Connections;
use crate::demand::Demand;
use crate::queue_states::{OutReason, QueueStates};

/// How long a queue may take to answer that it can be consumed. It takes milliseconds; one that stands without a leader
/// never answers. While all share a connection, the queues behind it wait so long, once.
const CONSUME_TIMEOUT: Duration = Duration::from_secs(5);

/// How long what is in flight may take to be settled before its channel is closed. A batch takes milliseconds; while
/// the database is away it goes back to the queue instead.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the same may take when the queue's turn is over, and another worker waits for it. What is not settled then
/// comes again there: the member's row lock and the command's id keep it in order, and once.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an acknowledgement may take to be written. lapin never answers one that meets the end of its connection.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a channel that is of no use may take to close. Nobody waits for it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// A queue, and where its deliveries go.
pub(crate) struct Subscription<'a, T> {
    pub(crate) queue: String,
    /// Under which name the broker lists us.
    pub(crate) tag: String,
    /// What is made of a delivery.
    pub(crate) read: Box<dyn Fn(Delivery, DeliveryGuard) -> T + Send + Sync + 'a>,
    pub(crate) sender: mpsc::Sender<T>,
    /// When it is to be consumed.
    pub(crate) demand: Demand,
}

/// How a queue is consumed.
pub(crate) struct QueueConsumer<'a, T> {
    pub(crate) subscription: &'a Subscription<'a, T>,
    pub(crate) prefetch: u16,
    pub(crate) states: &'a QueueStates,
    /// Called when the queue goes out or is back.
    pub(crate) changed: &'a (dyn Fn() + Send + Sync),
}

/// A channel with its consumer.
pub(crate) struct OpenConsumer {
    channel: Channel,
    consumer: Consumer,
    state: Arc<ChannelState>,
    /// For which it was opened.
    turn: Option<Turn>,
}

/// How the deliveries of a channel ended.
enum Ended {
    /// The worker was told to stop.
    Stopped,
    /// The queue's turn is over.
    HandedOver,
    /// The channel is of no use.
    Broke,
}

/// What is in flight of one channel.
#[derive(Debug, Default)]
struct ChannelState {
    in_flight: TaskTracker,
    unusable: Notify,
    /// How many deliveries came.
    delivered: AtomicU64,
}

/// Held with each delivery until it is settled or dropped.
#[derive(Debug)]
pub(crate) struct DeliveryGuard {
    of: Arc<ChannelState>,
    _counted: TaskTrackerToken,
}

impl DeliveryGuard {
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
    fn reason(&self) -> OutReason {
        match self {
            Self::NoChannel | Self::NoAnswer | Self::Unknown => OutReason::NoAnswer,
            Self::Ended => OutReason::Ended,
            Self::Connect(_) | Self::Unsettled => OutReason::Broken,
            Self::Refused(error) | Self::Delivery(error) => out_reason(error),
        }
    }
}

/// What an error of the broker says of a queue.
pub(crate) fn out_reason(error: &lapin::Error) -> OutReason {
    let ErrorKind::ProtocolError(refusal) = error.kind() else { return OutReason::Broken };
    match refusal.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => OutReason::Missing,
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED | AMQPSoftError::RESOURCELOCKED) => OutReason::Refused,
        AMQPErrorKind::Hard(AMQPHardError::INTERNALERROR) => OutReason::NoAnswer,
        // What else a broker may say of a queue is in the log.
        AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => OutReason::Broken,
    }
}

impl<T: Send> QueueConsumer<'_, T> {
    /// Consumes on the connection that all share. None: it is not the queue's turn, or the queue is out and to be tried
    /// on a connection of its own. An error is about the connection.
    pub(crate) async fn first(&self, connections: &Connections<'_>) -> Result<Option<OpenConsumer>, ConsumeError> {
        let _alone = connections.opening.lock().await;
        if self.states.is_out(self.queue()) || self.demand().turn().is_none() {
            return Ok(None);
        }
        match self.consume(&connections.shared).await {
            Ok(opened) => {
                self.is_consumed();
                Ok(Some(opened))
            }
            Err(error @ ConsumeError::NoChannel) => Err(error),
            Err(error) => {
                let lost = !connections.shared.status().connected();
                // Who ends the connection by being consumed is not consumed on it again.
                if !lost || error.reason() == OutReason::NoAnswer {
                    self.states.goes_out(self.queue(), error.reason(), &chain(&error));
                }
                if lost { Err(error) } else { Ok(None) }
            }
        }
    }

    /// Hands over what is delivered, and consumes the queue again whenever that breaks off, in each of its turns, until
    /// `stop`: then what is in flight is finished and the channel closed. Once the connection that all share is lost it
    /// does nothing more; an error says that trying the queue has ended it.
    pub(crate) async fn run(
        &self,
        connections: &Connections<'_>,
        mut opened: Option<OpenConsumer>,
        stop: &CancellationToken,
    ) -> Result<(), ConsumeError> {
        let mut backoff = Backoff::default();
        // A queue that is out was tried on the connection that all share.
        let mut is_new = opened.is_none() && !self.states.is_out(self.queue());
        while !stop.is_cancelled() {
            if opened.is_none() && (is_new || self.demand().turn().is_none()) {
                opened = self.in_its_turn(connections, stop).await?;
                (is_new, backoff) = (false, Backoff::default());
                continue;
            }
            let progress = SessionProgress::default();
            if let Some(opened) = opened.take() {
                progress.opened();
                match self.serve(opened, connections, stop).await {
                    Ended::Stopped => break,
                    Ended::HandedOver => is_new = true,
                    Ended::Broke => {}
                }
                connections.close_own(self.queue()).await;
                if is_new {
                    continue;
                }
            }
            let turn = self.demand().turn();
            let again = async {
                tokio::time::sleep(backoff.wait_after(&progress)).await;
                self.again(connections).await
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.demand().ends(turn) => {
                    // Not dropped: one that is owed an answer would stay open, and get what nobody reads.
                    connections.close_own(self.queue()).await;
                    is_new = true;
                }
                consumer = again => opened = consumer,
            }
            (self.changed)();
        }
        connections.close_own(self.queue()).await;
        Ok(())
    }

    /// Waits for the queue's turn, and consumes it on the connection that all share.
    async fn in_its_turn(
        &self,
        connections: &Connections<'_>,
        stop: &CancellationToken,
    ) -> Result<Option<OpenConsumer>, ConsumeError> {
        if self.demand().turn().is_none() {
            // Whatever it was, it is no concern of ours until then.
            self.states.not_needed(self.queue());
            (self.changed)();
            connections.close_own(self.queue()).await;
        }
        if stop.run_until_cancelled(self.demand().begins()).await.is_none() {
            return Ok(None);
        }
        let opened = self.first(connections).await?;
        (self.changed)();
        Ok(opened)
    }

    fn is_consumed(&self) {
        self.states.in_use(self.queue());
        self.demand().has_subscribed(true);
    }

    fn demand(&self) -> &Demand {
        &self.subscription.demand
    }

    fn queue(&self) -> &str {
        &self.subscription.queue
    }

    /// Consumes on a connection of the queue's own.
    async fn again(&self, connections: &Connections<'_>) -> Option<OpenConsumer> {
        let consuming = async {
            let connection = connections.one_for(self.queue()).await?;
            self.consume(&connection).await
        };
        match consuming.await {
            Ok(opened) => {
                self.is_consumed();
                Some(opened)
            }
            Err(error) => {
                connections.close_own(self.queue()).await;
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
        self.states.goes_out(self.queue(), error.reason(), &chain(error));
    }

    /// Hands deliveries over until it cannot or is not to, and closes the channel once what is in flight is settled.
    async fn serve(&self, mut opened: OpenConsumer, connections: &Connections<'_>, stop: &CancellationToken) -> Ended {
        let (channel, turn) = (Arc::clone(&opened.state), opened.turn);
        let (ended, error) = tokio::select! {
            error = opened.hand_all(self.subscription) => (Ended::Broke, Some(error)),
            () = channel.unusable.notified() => (Ended::Broke, Some(ConsumeError::Unsettled)),
            () = self.is_forgotten(&channel) => (Ended::Broke, Some(ConsumeError::Unknown)),
            () = self.demand().ends(turn) => (Ended::HandedOver, None),
            () = stop.cancelled() => (Ended::Stopped, None),
        };
        if let Some(error) = &error {
            self.goes_out(connections, error).await;
            (self.changed)();
        }
        self.demand().has_subscribed(false);
        channel.in_flight.close();
        let closing = close(opened.channel, Some(opened.consumer));
        match ended {
            Ended::Stopped => {
                channel.in_flight.wait().await;
                closing.await;
            }
            Ended::HandedOver => {
                let _ = timeout(HAND_OVER_TIMEOUT, channel.in_flight.wait()).await;
                closing.await;
            }
            Ended::Broke => {
                // Too long: the database is away. What is in flight comes again.
                let _ = timeout(FINISH_TIMEOUT, channel.in_flight.wait()).await;
                tokio::spawn(closing);
            }
        }
        ended
    }

    /// Returns when the queue says again and again that it has no consumer, and has delivered nothing meanwhile: one
    /// that only is slow to answer says so too.
    async fn is_forgotten(&self, channel: &ChannelState) {
        loop {
            let before = channel.delivered.load(Ordering::Relaxed);
            self.states.is_unknown_to(self.queue()).await;
            if channel.delivered.load(Ordering::Relaxed) == before {
                return;
            }
            self.states.in_use(self.queue());
        }
    }

    /// A channel, and its consumer, each within a bound. lapin may never answer for a queue that is stuck; its channel
    /// is closed behind us.
    async fn consume(&self, connection: &Connection) -> Result<OpenConsumer, ConsumeError> {
        let turn = self.demand().turn();
        let channel = timeout(CONSUME_TIMEOUT, connection.create_channel()).await;
        let channel = channel.map_err(|_| ConsumeError::NoChannel)?.map_err(ConsumeError::Refused)?;
        let consuming = async {
            channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
            let (queue, tag) = (self.queue().into(), self.subscription.tag.as_str().into());
            channel.basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default()).await
        };
        match timeout(CONSUME_TIMEOUT, amqp::while_connected(connection, consuming)).await {
            Ok(Ok(Ok(consumer))) => Ok(OpenConsumer { channel, consumer, state: Arc::default(), turn }),
            Ok(Ok(Err(error)) | Err(error)) => Err(ConsumeError::Refused(error)),
            Err(_) => {
                tokio::spawn(close(channel, None));
                Err(ConsumeError::NoAnswer)
            }
        }
    }
}

impl OpenConsumer {
    /// Reads all that is delivered. Ends when nothing more comes; never, if nobody takes it any more.
    async fn hand_all<T>(&mut self, into: &Subscription<'_, T>) -> ConsumeError {
        while let Some(delivery) = self.consumer.next().await {
            let delivery = match delivery {
                Ok(delivery) => delivery,
                Err(error) => return ConsumeError::Delivery(error),
            };
            self.state.delivered.fetch_add(1, Ordering::Relaxed);
            let guard = DeliveryGuard { of: Arc::clone(&self.state), _counted: self.state.in_flight.token() };
            if into.sender.send((into.read)(delivery, guard)).await.is_err() {
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
