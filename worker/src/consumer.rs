//! The consumer of commands: reads what the partitions deliver and feeds the batch processors with it.
//!
//! Which partitions are this worker's, the [assignment](crate::assignment) says. Each belongs to one batch processor, so
//! that the commands of one member stay in order. What was not acknowledged is delivered again, and the ledger knows what
//! it has seen.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use loyalty_common::Partition;
use loyalty_common::amqp::Heartbeat;
use loyalty_common::backoff::SessionProgress;
use loyalty_common::secret::SecretUrl;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::assignment::AssignedPlaces;
use crate::batch_processor::BatchProcessor;
use crate::consumer_session::{ConsumerSession, SessionError};
use crate::limits::Limits;
use crate::message::Message;
use crate::queue_consumer::Subscription;
use crate::queue_states::QueueStates;

/// Consumes partitions until `stop`, then finishes what was begun.
#[derive(Clone, Debug)]
pub(crate) struct CommandConsumer {
    pub(crate) amqp: SecretUrl,
    pub(crate) processor: BatchProcessor,
    pub(crate) limits: Limits,
    pub(crate) states: QueueStates,
    pub(crate) places: Arc<AssignedPlaces>,
    /// True while deliveries of any partition are being taken, or none is this worker's.
    pub(crate) consuming: watch::Sender<bool>,
}

#[derive(Debug, thiserror::Error)]
#[error("the work in flight was not finished within the time to drain")]
pub(crate) struct DrainTimedOut;

impl CommandConsumer {
    pub(crate) async fn session(
        &self,
        stop: &CancellationToken,
        progress: SessionProgress,
    ) -> Result<(), SessionError<DrainTimedOut>> {
        if stop.run_until_cancelled(self.places.known()).await.is_none() {
            return Ok(());
        }
        // Room for one batch: the rest waits in lapin's buffers, which the prefetch bounds.
        let channels = (0..self.limits.processors).map(|_| mpsc::channel(self.limits.batch_commands));
        let (senders, receivers): (Vec<_>, Vec<_>) = channels.unzip();
        let subscription = |partition: Partition| Subscription {
            queue: partition.queue(),
            tag: format!("loyalty-{partition}"),
            read: Box::new(move |delivery, guard| Message::read(delivery, partition).held_by(guard)),
            sender: senders[usize::from(partition.number()) % senders.len()].clone(),
            demand: self.places.demand(partition),
        };
        let session = ConsumerSession {
            amqp: &self.amqp,
            name: "commands",
            heartbeat: Heartbeat::Quick,
            prefetch: self.limits.prefetch,
            queues: Partition::all().map(subscription).collect(),
            states: &self.states,
            changed: &|| self.show(),
        };
        let result = session.run(self.apply(receivers, stop), stop, &progress).await;
        self.places.session_ended();
        self.consumes(false);
        result
    }

    /// Runs the batch processors, each with its part of the partitions.
    async fn apply(
        &self,
        receivers: Vec<mpsc::Receiver<Message>>,
        stop: &CancellationToken,
    ) -> Result<(), DrainTimedOut> {
        let mut processors: FuturesUnordered<_> =
            receivers.into_iter().map(|receiver| self.processor.run(receiver, stop)).collect();
        let finished = async { while processors.next().await.is_some() {} };
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(self.limits.drain).await;
        };
        tokio::select! {
            () = finished => Ok(()),
            () = overdue => Err(DrainTimedOut),
        }
    }

    /// Says which partitions are taken, in the metrics and to whoever asks whether commands are.
    fn show(&self) {
        let mut any = !self.places.any();
        for partition in Partition::all() {
            let taken = self.states.is_in_use(&partition.queue());
            self.processor.metrics.in_flight.takes(partition, taken);
            any |= taken;
        }
        self.consumes(any);
    }

    fn consumes(&self, any: bool) {
        self.processor.metrics.in_flight.consumes(any);
        self.consuming.send_if_modified(|consuming| std::mem::replace(consuming, any) != any);
    }
}
