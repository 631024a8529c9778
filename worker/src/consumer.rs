//! One session with the broker: a connection, a consumer for each partition, and the lanes they feed.
//!
//! A partition that cannot be consumed is out alone and is tried again; all others go on. Only the connection's loss
//! ends the session, and the supervisor builds a new one. What was not acknowledged is delivered again, and the ledger
//! knows what it has seen.

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use lapin::message::Delivery;
use loyalty_common::backoff::Proof;
use loyalty_common::secret::SecretUrl;
use loyalty_common::{Partition, amqp};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::lane::Lane;
use crate::limits::Limits;
use crate::message::Message;
use crate::queue_consumer::{Connections, ConsumeError, Deliveries, Hold, Opened, QueueConsumer};
use crate::queue_states::QueueStates;

/// Consumes partitions until `stop`, then finishes what was begun and closes in good order.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    pub(crate) amqp: SecretUrl,
    pub(crate) lane: Lane,
    pub(crate) limits: Limits,
    pub(crate) states: QueueStates,
    /// True while deliveries of any partition are being taken.
    pub(crate) consuming: watch::Sender<bool>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Connect(#[from] amqp::ConnectError),
    #[error("could not consume {queue}")]
    Consume { queue: String, source: ConsumeError },
    #[error("lost the connection")]
    Lost(#[source] lapin::Error),
    #[error("the work in hand was not finished within the time to drain")]
    DrainTimedOut,
}

impl Intake {
    pub(crate) async fn session(&self, stop: &CancellationToken, proof: Proof) -> Result<(), SessionError> {
        let connections = Connections::open(&self.amqp, "worker").await?;
        let mut consumers = FuturesUnordered::new();
        let work = self.work(&connections, &mut consumers, stop, &proof);
        let result = amqp::while_connected(&connections.shared, work).await;
        // Closed even if nothing was begun: dropped while a queue owes it an answer, a connection stays open, and the
        // queue's deliveries go to it, which nobody reads.
        connections.close().await;
        drop(consumers);
        self.states.session_ended(&Partition::all().map(Partition::queue).collect::<Vec<_>>());
        self.show();
        result.map_err(SessionError::Lost)?
    }

    /// Opens one partition after the other. They begin together, so that the first batches are full; but nobody waits for
    /// those behind one that is out, since each of these may take seconds.
    async fn work<'a>(
        &'a self,
        connections: &'a Connections<'a>,
        consumers: &mut FuturesUnordered<BoxFuture<'a, ()>>,
        stop: &'a CancellationToken,
        proof: &Proof,
    ) -> Result<(), SessionError> {
        let (senders, mut lanes): (Vec<_>, FuturesUnordered<_>) = (0..self.limits.lanes)
            .map(|_| {
                // Room for one batch: the rest waits in lapin's buffers, which the prefetch bounds.
                let (sender, receiver) = mpsc::channel(self.limits.batch_commands);
                (sender, self.lane.run(receiver, stop))
            })
            .unzip();
        let lane_of = |partition: Partition| senders[usize::from(partition.number()) % senders.len()].clone();
        let mut opening = std::pin::pin!(self.open(connections));
        let (mut open, mut ready) = (0, Vec::new());
        let deadline = async {
            stop.cancelled().await;
            tokio::time::sleep(self.limits.drain).await;
        };
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                Some(opened) = opening.next() => {
                    let (partition, first) = opened?;
                    open += 1;
                    let (is_out, all_open) = (first.is_none(), open == Partition::all().count());
                    ready.push(self.run(partition, connections, first, lane_of(partition), stop));
                    if is_out || all_open {
                        consumers.extend(ready.drain(..).map(|run| -> BoxFuture<'a, ()> { Box::pin(run) }));
                    }
                    if all_open {
                        self.opened();
                        proof.opened();
                    }
                }
                Some(()) = consumers.next() => {} // It was told to leave.
                finished = lanes.next() => match finished {
                    Some(()) => {}
                    None => return Ok(()),
                },
                () = &mut deadline => return Err(SessionError::DrainTimedOut),
            }
        }
    }

    /// Each partition on the connection that all share, one after the other: so it is known which one ends it.
    fn open<'a>(
        &'a self,
        connections: &'a Connections<'a>,
    ) -> impl Stream<Item = Result<(Partition, Option<Opened>), SessionError>> + 'a {
        futures_util::stream::iter(Partition::all()).then(async move |partition| {
            let first = self.consumer(partition).first(connections).await;
            let first = first.map_err(|source| SessionError::Consume { queue: partition.queue(), source })?;
            Ok((partition, first))
        })
    }

    fn consumer(&self, partition: Partition) -> QueueConsumer {
        QueueConsumer {
            queue: partition.queue(),
            tag: format!("loyalty-{partition}"),
            prefetch: self.limits.prefetch,
            states: self.states.clone(),
        }
    }

    /// Takes one partition until `leave`.
    async fn run(
        &self,
        partition: Partition,
        connections: &Connections<'_>,
        first: Option<Opened>,
        sender: mpsc::Sender<Message>,
        leave: &CancellationToken,
    ) {
        let deliveries = Deliveries {
            read: Box::new(move |delivery: Delivery, hold: Hold| Message::read(delivery, partition).held_by(hold)),
            sender,
            changed: Box::new(|| self.show()),
        };
        self.consumer(partition).run(connections, first, &deliveries, leave).await;
    }

    fn opened(&self) {
        self.show();
        let partitions = Partition::all().filter(|partition| self.states.is_in_use(&partition.queue())).count();
        info!(partitions, lanes = self.limits.lanes, "Consuming commands");
    }

    /// Says which partitions are taken, in the metrics and to whoever asks whether commands are.
    fn show(&self) {
        let mut any = false;
        for partition in Partition::all() {
            let taken = self.states.is_in_use(&partition.queue());
            self.lane.metrics.hand.takes(partition, taken);
            any |= taken;
        }
        self.consuming.send_if_modified(|consuming| std::mem::replace(consuming, any) != any);
    }
}
