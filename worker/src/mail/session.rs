//! One session of the mailer with the broker: its retry queues are asked for, its queue is consumed, and what is in
//! hand is brought to its end.
//!
//! Deliveries that wait for their turn go back to the broker when the session ends; one that is being sent is finished
//! all the same, since a dialogue that is cut short is an email whose delivery is unknown. It comes again, and its row
//! says what became of it.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::Acker;
use lapin::message::Delivery;
use loyalty_common::amqp::Heartbeat;
use loyalty_common::backoff::SessionProgress;
use loyalty_common::queue_probe::{ProbeError, QueueProbe, QueueStatus};
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology;
use loyalty_store::StoreError;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handler::{DeliveryError, Handled, MailHandler};
use crate::consumer_session::{self, ConsumerSession};
use crate::demand::Demand;
use crate::queue_consumer::{DeliveryGuard, Subscription};
use crate::queue_states::{OutReason, QueueStates};

/// What a session works with.
pub(crate) struct Session<'a> {
    pub(crate) amqp: &'a SecretUrl,
    pub(crate) handler: &'a Arc<MailHandler>,
    /// Deliveries in flight, at work or waiting.
    pub(crate) prefetch: u16,
    /// Those at work, of this session and of broken ones.
    pub(crate) at_work: &'a TaskTracker,
    /// Where it says whether the queue of emails and the retry queues can be used.
    pub(crate) states: &'a QueueStates,
}

/// Why emails cannot be taken, or no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MailError {
    #[error("the database does not answer")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error("the retry queue {queue} is missing; run `loyalty topology`")]
    RetryQueueMissing { queue: String },
    #[error("the retry queue {queue} does not answer")]
    RetryQueueSilent { queue: String },
    #[error("could not finish an email")]
    Handle(#[from] DeliveryError),
    #[error("the task of an email panicked")]
    Panicked(#[from] JoinError),
}

type SessionError = consumer_session::SessionError<MailError>;

/// A request for an email, and what its acknowledgement needs.
type Request = (Delivery, DeliveryGuard);

impl Session<'_> {
    /// Sends emails until `stop`, then finishes those that are being sent.
    pub(crate) async fn run(&self, stop: &CancellationToken, progress: SessionProgress) -> Result<(), SessionError> {
        let worked = match stop.run_until_cancelled(self.check()).await {
            None => Ok(()),
            Some(Err(error)) => Err(SessionError::Handler(error)),
            Some(Ok(())) => self.consume(stop, &progress).await,
        };
        self.states.session_ended(&self.retry_queues().collect::<Vec<_>>());
        worked
    }

    async fn check(&self) -> Result<(), MailError> {
        // What is delivered while the database is away comes again, and each time is counted towards the limit at which
        // the broker gives a message up.
        self.handler.pool.ping().await?;
        let probe = QueueProbe::connect(self.amqp, "emails probe").await.map_err(ProbeError::Connect)?;
        let statuses = probe.ask(self.retry_queues().map(|queue| (queue.clone(), queue))).await;
        probe.close().await;
        self.retry_queues_stand(statuses?)
    }

    /// An email that failed and finds no queue to wait in could only be delivered again at once, and again: none is
    /// taken while one is missing. Looks at all, so that each that is missing is named.
    fn retry_queues_stand(&self, statuses: Vec<(String, QueueStatus)>) -> Result<(), MailError> {
        let mut out = None;
        for (queue, status) in statuses {
            let (reason, of_emails, error) = match status {
                QueueStatus::Exists { .. } => {
                    self.states.in_use(&queue);
                    continue;
                }
                // Publishing will tell.
                QueueStatus::NotTold => continue,
                QueueStatus::Missing => {
                    let error = MailError::RetryQueueMissing { queue: queue.clone() };
                    (OutReason::Missing, OutReason::RetryQueueMissing, error)
                }
                QueueStatus::NoAnswer => {
                    let error = MailError::RetryQueueSilent { queue: queue.clone() };
                    (OutReason::NoAnswer, OutReason::NoAnswer, error)
                }
            };
            self.states.goes_out(&queue, reason, &error.to_string());
            out = out.or(Some((of_emails, error)));
        }
        let Some((reason, error)) = out else { return Ok(()) };
        self.states.goes_out(topology::EMAILS, reason, &error.to_string());
        Err(error)
    }

    fn retry_queues(&self) -> impl Iterator<Item = String> {
        self.handler.retry_schedule.delays().iter().map(|delay| delay.queue())
    }

    async fn consume(&self, stop: &CancellationToken, progress: &SessionProgress) -> Result<(), SessionError> {
        let (sender, requests) = mpsc::channel(usize::from(self.prefetch));
        let read = Box::new(|delivery, guard| (delivery, guard));
        let (queue, tag) = (topology::EMAILS.to_owned(), "loyalty-emails".to_owned());
        let session = ConsumerSession {
            amqp: self.amqp,
            name: "emails",
            heartbeat: Heartbeat::Usual,
            prefetch: self.prefetch,
            queues: vec![Subscription { queue, tag, read, sender, demand: Demand::always() }],
            states: self.states,
            changed: &|| {},
        };
        session.run(self.handle_all(requests, stop), stop, progress).await
    }

    async fn handle_all(
        &self,
        mut requests: mpsc::Receiver<Request>,
        stop: &CancellationToken,
    ) -> Result<(), MailError> {
        // However the session ends, those who wait for their turn are told.
        let leave = CancellationToken::new();
        let _told_at_the_end = leave.clone().drop_guard();
        let mut in_flight = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(request) = requests.recv() => in_flight.push(self.begin(request, &leave)),
                Some(result) = in_flight.next() => acknowledge(result?).await,
            }
        }
        // The channel stays open until the last acknowledgement; deliveries that still come are not looked at, and go
        // back when it closes.
        leave.cancel();
        while let Some(result) = in_flight.next().await {
            acknowledge(result?).await;
        }
        Ok(())
    }

    /// Hands a delivery to a task of its own, which outlives the session if need be.
    fn begin(
        &self,
        (delivery, guard): Request,
        leave: &CancellationToken,
    ) -> impl Future<Output = Result<(Acker, DeliveryGuard, Handled), MailError>> + use<> {
        let acker = delivery.acker.clone();
        let task = self.at_work.spawn(Arc::clone(self.handler).handle(delivery, leave.clone()));
        async move { Ok((acker, guard, task.await??)) }
    }
}

async fn acknowledge((acker, guard, handled): (Acker, DeliveryGuard, Handled)) {
    match handled {
        Handled::NotBegun => {}
        // One whose channel is gone comes again, and its row says what became of it.
        Handled::Done => {
            guard.acknowledge(&acker, false).await;
        }
    }
}
