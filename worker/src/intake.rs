//! One session with the broker: a connection, a channel and a consumer for each partition, and the lanes they feed.
//!
//! All of it stands and falls together: whatever breaks ends the session, and the supervisor builds a new one. What
//! was not acknowledged is delivered again, and the ledger knows what it has seen.

use std::pin::Pin;

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer};
use loyalty_common::partition::PARTITIONS;
use loyalty_common::secret::SecretUrl;
use loyalty_common::{Partition, amqp};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::lane::{Lane, LaneError};
use crate::limits::Limits;
use crate::message::Message;

/// Consumes all partitions until `stop`, then finishes what was begun and closes in good order.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    pub(crate) amqp: SecretUrl,
    pub(crate) lane: Lane,
    pub(crate) limits: Limits,
    /// True while deliveries are being taken.
    pub(crate) consuming: watch::Sender<bool>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Connect(#[from] amqp::ConnectError),
    #[error("could not consume {queue}; is the topology declared?")]
    Consume { queue: String, source: lapin::Error },
    #[error("RabbitMQ did not let the queues be consumed within 15 seconds")]
    Slow,
    #[error("deliveries of {queue} broke off")]
    Delivery { queue: String, source: lapin::Error },
    #[error("the broker ended the deliveries of {queue}")]
    Ended { queue: String },
    #[error(transparent)]
    Lane(#[from] LaneError),
    #[error("the work in hand was not finished within the time to drain")]
    DrainTimedOut,
}

impl Intake {
    pub(crate) async fn session(&self, stop: &CancellationToken) -> Result<(), SessionError> {
        let connection = amqp::connect(&self.amqp, "worker").await?;
        // They outlive the connection's end: dropping one cancels it, which would hand its partition to the next
        // worker while deliveries of ours are unacknowledged.
        let mut consumers = Vec::new();
        let result = self.work(&connection, &mut consumers, stop).await;
        // Closed even if nothing was begun: dropped while a queue owes it an answer, a connection stays open, and the
        // queue's deliveries go to it, which nobody reads.
        amqp::close(&connection).await;
        result
    }

    async fn work(
        &self,
        connection: &Connection,
        consumers: &mut Vec<(Partition, Consumer)>,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        let opening = tokio::time::timeout(amqp::OPEN_TIMEOUT, self.open(connection, consumers));
        let Some(opened) = stop.run_until_cancelled(opening).await else {
            return Ok(());
        };
        opened.map_err(|_| SessionError::Slow)??;
        let (feeds, lanes) = self.lanes(consumers, stop);
        let feeds = std::pin::pin!(feeds);
        info!(partitions = PARTITIONS, lanes = self.limits.lanes, "Consuming commands");
        self.consumes(true);
        let result = self.consume(feeds, lanes, stop).await;
        self.consumes(false);
        result
    }

    fn consumes(&self, consuming: bool) {
        self.consuming.send_replace(consuming);
        self.lane.metrics.hand.consuming(consuming);
    }

    /// The lanes, and what feeds them.
    fn lanes<'a>(
        &'a self,
        consumers: &'a mut [(Partition, Consumer)],
        stop: &'a CancellationToken,
    ) -> (impl Stream<Item = Result<(), SessionError>>, impl Stream<Item = Result<(), LaneError>> + Unpin + use<'a>)
    {
        let lanes = FuturesUnordered::new();
        let mut senders = Vec::new();
        for _ in 0..self.limits.lanes {
            // Room for one batch: the rest waits in lapin's buffers, which the prefetch bounds.
            let (sender, receiver) = mpsc::channel(self.limits.batch_commands);
            senders.push(sender);
            lanes.push(self.lane.run(receiver, stop));
        }
        let lane_of = |partition: Partition| senders[usize::from(partition.number()) % senders.len()].clone();
        let feeds: FuturesUnordered<_> =
            consumers.iter_mut().map(|(partition, consumer)| feed(consumer, *partition, lane_of(*partition))).collect();
        (feeds, lanes)
    }

    async fn consume(
        &self,
        mut feeds: Pin<&mut impl Stream<Item = Result<(), SessionError>>>,
        mut lanes: impl Stream<Item = Result<(), LaneError>> + Unpin,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        let deadline = async {
            stop.cancelled().await;
            tokio::time::sleep(self.limits.drain).await;
        };
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                Some(ended) = feeds.next() => ended?,
                finished = lanes.next() => match finished {
                    Some(result) => result?,
                    None => return Ok(()),
                },
                () = &mut deadline => return Err(SessionError::DrainTimedOut),
            }
        }
    }

    /// A consumer for each partition, those that there are also when the next does not come.
    async fn open(
        &self,
        connection: &Connection,
        consumers: &mut Vec<(Partition, Consumer)>,
    ) -> Result<(), SessionError> {
        for partition in Partition::all() {
            consumers.push((partition, self.consumer(connection, partition).await?));
        }
        Ok(())
    }

    async fn consumer(&self, connection: &Connection, partition: Partition) -> Result<Consumer, SessionError> {
        let failed = |source| SessionError::Consume { queue: partition.queue(), source };
        let channel = connection.create_channel().await.map_err(failed)?;
        channel.basic_qos(self.limits.prefetch, BasicQosOptions::default()).await.map_err(failed)?;
        let (queue, tag) = (partition.queue().into(), format!("loyalty-{partition}").into());
        let options = BasicConsumeOptions::default();
        channel.basic_consume(queue, tag, options, FieldTable::default()).await.map_err(failed)
    }
}

/// Reads the deliveries of one partition into its lane. Ends well only when the lane has ended.
async fn feed(consumer: &mut Consumer, partition: Partition, lane: mpsc::Sender<Message>) -> Result<(), SessionError> {
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery.map_err(|source| SessionError::Delivery { queue: partition.queue(), source })?;
        if lane.send(Message::read(delivery, partition)).await.is_err() {
            return Ok(());
        }
    }
    Err(SessionError::Ended { queue: partition.queue() })
}
