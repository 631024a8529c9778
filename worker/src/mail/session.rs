//! One session of the mailer with the broker: a connection, a channel, a consumer, and the deliveries in hand.
//!
//! Whatever breaks ends the session. Deliveries that wait for their turn go back to the broker with it; one that is
//! being sent is finished all the same, since a dialogue that is cut short is a mail of unknown fate. It comes again,
//! and its row says what became of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Acker, Connection, Consumer, ErrorKind};
use loyalty_common::amqp::{self, ConnectError};
use loyalty_common::backoff::Proof;
use loyalty_common::publisher::chain;
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology::{self, RetryDelay};
use loyalty_store::StoreError;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use super::handler::{DeliveryError, Handled, Office};
use crate::queue_consumer::why;
use crate::queue_states::{QueueStates, Why};

/// How long asking for the rungs and consuming the queue may take. A queue without a leader does not answer.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// What a session works with.
pub(crate) struct Session<'a> {
    pub(crate) amqp: &'a SecretUrl,
    pub(crate) office: &'a Arc<Office>,
    /// Deliveries in hand, at work or waiting.
    pub(crate) prefetch: u16,
    /// Those at work, of this session and of broken ones.
    pub(crate) at_work: &'a TaskTracker,
    /// Where it says whether the queue of mails and those of the rungs can be used.
    pub(crate) states: &'a QueueStates,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("the database does not answer")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("lost the connection")]
    Lost(#[source] lapin::Error),
    #[error("the retry queue {queue} is missing; run `loyalty topology`")]
    MissingRung { queue: String },
    #[error("could not ask for the retry queue {queue}")]
    Ask { queue: String, source: lapin::Error },
    #[error("could not consume {}; is the topology declared?", topology::EMAILS)]
    Consume(#[source] lapin::Error),
    #[error("RabbitMQ did not let mails be consumed within {} seconds", OPEN_TIMEOUT.as_secs())]
    Slow,
    #[error("deliveries of mails broke off")]
    Delivery(#[source] lapin::Error),
    #[error("the broker ended the deliveries of mails")]
    Ended,
    #[error("the queue of mails does not know of its consumer")]
    Unknown,
    #[error("a mail could not be brought to its end")]
    Handle(#[from] DeliveryError),
    #[error("a mail made its task panic")]
    Panicked(#[from] JoinError),
    #[error("could not acknowledge a mail")]
    Ack(#[source] lapin::Error),
    #[error("a mail could not be acknowledged: its channel is gone")]
    ChannelGone,
}

impl Session<'_> {
    /// Sends mails until `shutdown`, then finishes those that are being sent.
    pub(crate) async fn run(&self, shutdown: &CancellationToken, proof: Proof) -> Result<(), SessionError> {
        // Asked first: what is delivered while the database is away comes again, and each time is counted towards
        // the limit at which the broker gives a message up.
        self.office.pool.ping().await?;
        let connection = amqp::connect(self.amqp, "mailer").await?;
        let worked = amqp::while_connected(&connection, self.work(&connection, shutdown, &proof)).await;
        let worked = worked.unwrap_or_else(|error| Err(SessionError::Lost(error)));
        if let Err(error) = &worked {
            self.report(error, connection.status().connected());
        }
        amqp::close(&connection).await;
        let rungs = self.office.ladder.delays().iter().map(|rung| rung.queue());
        self.states.session_ended(&rungs.chain([topology::EMAILS.to_owned()]).collect::<Vec<_>>());
        worked
    }

    async fn work(
        &self,
        connection: &Connection,
        shutdown: &CancellationToken,
        proof: &Proof,
    ) -> Result<(), SessionError> {
        let opening = tokio::time::timeout(OPEN_TIMEOUT, self.open(connection));
        let Some(opened) = shutdown.run_until_cancelled(opening).await else {
            return Ok(());
        };
        let deliveries = opened.map_err(|_| SessionError::Slow)??;
        self.states.in_use(topology::EMAILS);
        proof.opened();
        info!(prefetch = self.prefetch, "Consuming mails");
        self.consume(deliveries, shutdown).await
    }

    async fn open(&self, connection: &Connection) -> Result<Consumer, SessionError> {
        self.rungs_stand(connection).await?;
        let channel = connection.create_channel().await.map_err(SessionError::Consume)?;
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await.map_err(SessionError::Consume)?;
        let (queue, tag) = (topology::EMAILS.into(), "loyalty-mailer".into());
        let consuming = channel.basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default());
        consuming.await.map_err(SessionError::Consume)
    }

    /// Looks at all rungs, so that each that is missing is named.
    async fn rungs_stand(&self, connection: &Connection) -> Result<(), SessionError> {
        let mut missing = None;
        for rung in self.office.ladder.delays() {
            match stands(connection, *rung).await {
                Ok(()) => self.states.in_use(&rung.queue()),
                Err(error @ SessionError::MissingRung { .. }) => {
                    self.states.goes_out(&rung.queue(), Why::Missing, &error.to_string());
                    missing = missing.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        missing.map_or(Ok(()), Err)
    }

    /// Says that the queue of mails is out, if it is the queue and not the broker or the database that is away. A queue
    /// without a leader makes RabbitMQ fail, which ends the connection.
    fn report(&self, error: &SessionError, connected: bool) {
        let why = match error {
            SessionError::MissingRung { .. } => Why::RungMissing,
            SessionError::Slow | SessionError::Unknown => Why::NoAnswer,
            SessionError::Ended => Why::Ended,
            SessionError::Consume(source) | SessionError::Delivery(source) | SessionError::Lost(source) => {
                let why = why(source);
                if !connected && why != Why::NoAnswer {
                    return;
                }
                why
            }
            SessionError::Store(_)
            | SessionError::Connect(_)
            | SessionError::Ask { .. }
            | SessionError::Handle(_)
            | SessionError::Panicked(_)
            | SessionError::Ack(_)
            | SessionError::ChannelGone => return,
        };
        self.states.goes_out(topology::EMAILS, why, &chain(error));
    }

    async fn consume(&self, mut deliveries: Consumer, shutdown: &CancellationToken) -> Result<(), SessionError> {
        // However the session ends, those who wait for their turn are told.
        let leave = CancellationToken::new();
        let _told_at_the_end = leave.clone().drop_guard();
        let mut in_hand = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.states.is_unknown_to(topology::EMAILS) => return Err(SessionError::Unknown),
                delivery = deliveries.next() => {
                    let delivery = delivery.ok_or(SessionError::Ended)?.map_err(SessionError::Delivery)?;
                    in_hand.push(self.begin(delivery, &leave));
                }
                Some(result) = in_hand.next() => acknowledge(result?).await?,
            }
        }
        // The channel stays open until the last acknowledgement; deliveries that still come are not looked at, and go
        // back when it closes.
        leave.cancel();
        while let Some(result) = in_hand.next().await {
            acknowledge(result?).await?;
        }
        Ok(())
    }

    /// Hands a delivery to a task of its own, which outlives the session if need be.
    fn begin(
        &self,
        delivery: Delivery,
        leave: &CancellationToken,
    ) -> impl Future<Output = Result<(Acker, Handled), SessionError>> + use<> {
        let acker = delivery.acker.clone();
        let task = self.at_work.spawn(Arc::clone(self.office).handle(delivery, leave.clone()));
        async move { Ok((acker, task.await??)) }
    }
}

/// A mail that failed and finds no queue to wait in could only be delivered again at once, and again: none is taken
/// while one is missing.
async fn stands(connection: &Connection, rung: RetryDelay) -> Result<(), SessionError> {
    let queue = rung.queue();
    let asked = async {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await
    };
    let Err(source) = asked.await else { return Ok(()) };
    match source.kind() {
        ErrorKind::ProtocolError(refusal) if *refusal.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => {
            Err(SessionError::MissingRung { queue })
        }
        // Before RabbitMQ 4.3.1 only who may make queues may ask for them; publishing will tell.
        ErrorKind::ProtocolError(refusal) if *refusal.kind() == AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
            Ok(())
        }
        _ => Err(SessionError::Ask { queue, source }),
    }
}

async fn acknowledge((acker, handled): (Acker, Handled)) -> Result<(), SessionError> {
    match handled {
        Handled::Left => Ok(()),
        Handled::Done => match acker.ack(BasicAckOptions::default()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(SessionError::ChannelGone),
            Err(error) => Err(SessionError::Ack(error)),
        },
    }
}
