//! One consumer session with the broker: its connections, a consumer for each of its queues, and the handler that their
//! deliveries go to. All that the worker consumes, it consumes by this.
//!
//! A queue that cannot be consumed is out alone and is tried again; all others go on. The session ends when its handler
//! does, or with the connection that the queues share, and the supervisor builds a new one. What was not acknowledged
//! is delivered again.

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use loyalty_common::amqp::{self, ConnectError, Heartbeat};
use loyalty_common::backoff::SessionProgress;
use loyalty_common::secret::SecretUrl;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::connections::Connections;
use crate::queue_consumer::{ConsumeError, OpenConsumer, QueueConsumer, Subscription};
use crate::queue_states::QueueStates;

/// Which queues are consumed, and how.
pub(crate) struct ConsumerSession<'a, T> {
    pub(crate) amqp: &'a SecretUrl,
    /// What is consumed: in the log, and in the broker's list of connections.
    pub(crate) name: &'static str,
    /// How soon its end is noticed.
    pub(crate) heartbeat: Heartbeat,
    /// Unacknowledged deliveries of each queue.
    pub(crate) prefetch: u16,
    pub(crate) queues: Vec<Subscription<'a, T>>,
    pub(crate) states: &'a QueueStates,
    /// Called when a queue goes out or is back, and when the session begins and ends.
    pub(crate) changed: &'a (dyn Fn() + Send + Sync),
}

/// Why a session ended. `E` is what its handler fails with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError<E: std::error::Error + 'static> {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("could not consume {queue}")]
    Consume { queue: String, source: ConsumeError },
    #[error("lost the connection")]
    Lost(#[source] lapin::Error),
    #[error(transparent)]
    Handler(E),
}

impl<T: Send> ConsumerSession<'_, T> {
    /// Consumes until `handler` ends, which it does soon after `stop`: then the queues deliver no more, and it finishes
    /// what it has begun. Whatever ends the session, the connections are closed in good order.
    pub(crate) async fn run<E: std::error::Error + 'static>(
        &self,
        handler: impl Future<Output = Result<(), E>>,
        stop: &CancellationToken,
        progress: &SessionProgress,
    ) -> Result<(), SessionError<E>> {
        let connections = Connections::open(self.amqp, self.name, self.heartbeat).await?;
        let mut consumers = FuturesUnordered::new();
        let work = self.work(&connections, &mut consumers, handler, stop, progress);
        let result = amqp::while_connected(&connections.shared, work).await;
        // Closed even if nothing was begun: dropped while a queue owes it an answer, a connection stays open, and the
        // queue's deliveries go to it, which nobody reads. And closed before the consumers are dropped, which would
        // cancel them, and so hand their queues to the next worker while deliveries of ours are unacknowledged.
        connections.close().await;
        drop(consumers);
        self.states.session_ended(&self.queues.iter().map(|queue| &queue.queue).collect::<Vec<_>>());
        (self.changed)();
        result.map_err(SessionError::Lost)?
    }

    /// Opens one queue after the other. They begin together, so that the first batches are full; but nobody waits for
    /// those behind one that is out, since each of these may take seconds.
    async fn work<'a, E: std::error::Error + 'static>(
        &'a self,
        connections: &'a Connections<'a>,
        consumers: &mut FuturesUnordered<BoxFuture<'a, Result<(), SessionError<E>>>>,
        handler: impl Future<Output = Result<(), E>>,
        stop: &'a CancellationToken,
        progress: &SessionProgress,
    ) -> Result<(), SessionError<E>> {
        let (mut opening, mut handler) = (std::pin::pin!(self.open(connections)), std::pin::pin!(handler));
        let (mut opened, mut ready) = (0, Vec::new());
        loop {
            tokio::select! {
                Some(first) = opening.next() => {
                    let (queue, first) = first?;
                    opened += 1;
                    let (is_out, all_opened) = (self.states.is_out(&queue.queue), opened == self.queues.len());
                    ready.push(self.consume(queue, connections, first, stop));
                    if is_out || all_opened {
                        consumers.extend(ready.drain(..));
                    }
                    if all_opened {
                        self.began();
                        progress.opened();
                    }
                }
                // It was told to stop, or has ended the connection.
                Some(ended) = consumers.next() => ended?,
                ended = &mut handler => return ended.map_err(SessionError::Handler),
            }
        }
    }

    /// Each queue on the connection that all share, one after the other: so it is known which one ends it.
    fn open<'a, E: std::error::Error + 'static>(
        &'a self,
        connections: &'a Connections<'a>,
    ) -> impl Stream<Item = Result<(&'a Subscription<'a, T>, Option<OpenConsumer>), SessionError<E>>> + 'a {
        futures_util::stream::iter(&self.queues).then(async move |queue| {
            let first = self.consumer(queue).first(connections).await;
            Ok((queue, first.map_err(|source| ended_by(queue, source))?))
        })
    }

    /// One queue, until `stop`.
    fn consume<'a, E: std::error::Error + 'static>(
        &'a self,
        queue: &'a Subscription<'a, T>,
        connections: &'a Connections<'a>,
        first: Option<OpenConsumer>,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), SessionError<E>>> {
        Box::pin(async move {
            let ended = self.consumer(queue).run(connections, first, stop).await;
            ended.map_err(|source| ended_by(queue, source))
        })
    }

    fn consumer<'a>(&'a self, queue: &'a Subscription<'a, T>) -> QueueConsumer<'a, T> {
        QueueConsumer { subscription: queue, prefetch: self.prefetch, states: self.states, changed: self.changed }
    }

    fn began(&self) {
        (self.changed)();
        let queues = self.queues.iter().filter(|queue| self.states.is_in_use(&queue.queue)).count();
        info!(queues, prefetch = self.prefetch, "Consuming {}", self.name);
    }
}

/// The connection that all share was lost when this queue was tried.
fn ended_by<T, E: std::error::Error + 'static>(queue: &Subscription<'_, T>, source: ConsumeError) -> SessionError<E> {
    SessionError::Consume { queue: queue.queue.clone(), source }
}
