//! Asking the broker whether queues stand, over a connection that does nothing else.
//!
//! A quorum queue without a leader still says that it stands, with no message and no consumer; who consumed it would
//! lose the connection. So what it says of its consumers is passed on, to be held against what others say.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ErrorKind};
use tokio::time::timeout;

use crate::amqp::{self, ConnectError};
use crate::secret::SecretUrl;

/// How long one answer may take. They take a millisecond.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// What a queue says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueStatus {
    /// It exists. Without a leader to ask it says that it has no messages and no consumers.
    Exists {
        /// Messages that no consumer holds. The broker may say 0 too early.
        ready: u32,
        /// Those that stand ready included.
        consumers: u32,
    },
    /// There is no queue of that name.
    Missing,
    /// It does not answer.
    NoAnswer,
    /// Before RabbitMQ 4.3.1 only who may make queues may ask for them.
    NotTold,
}

/// Why nothing can be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It is lost.
    #[error("lost the connection that asks for queues")]
    Lost(#[source] lapin::Error),
    /// The broker opens no channel.
    #[error("RabbitMQ opened no channel within {} seconds", ANSWER_TIMEOUT.as_secs())]
    NoChannel,
}

/// A connection to ask with.
#[derive(Debug)]
pub struct QueueProbe {
    connection: Connection,
}

impl QueueProbe {
    /// Connects.
    pub async fn connect(url: &SecretUrl, name: &str) -> Result<Self, ConnectError> {
        Ok(Self { connection: amqp::connect(url, name).await? })
    }

    /// Asks for each of these queues.
    pub async fn ask<T>(
        &self,
        queues: impl IntoIterator<Item = (T, String)>,
    ) -> Result<Vec<(T, QueueStatus)>, ProbeError> {
        let mut answers = Vec::new();
        let mut channel = self.channel().await?;
        let mut queues = queues.into_iter();
        while let Some((of, queue)) = queues.next() {
            let asking = ask(&channel, &queue);
            let answer = timeout(ANSWER_TIMEOUT, amqp::while_connected(&self.connection, asking)).await;
            let status = match answer {
                Ok(Ok(Ok(queue))) => {
                    QueueStatus::Exists { ready: queue.message_count(), consumers: queue.consumer_count() }
                }
                Ok(Ok(Err(error)) | Err(error)) => refused(error)?,
                Err(_) => QueueStatus::NoAnswer,
            };
            // Who may not ask for one may not ask for the others, and each refusal is an error in the broker's log.
            if status == QueueStatus::NotTold {
                tokio::spawn(close(channel));
                answers.push((of, status));
                answers.extend(queues.map(|(of, _)| (of, QueueStatus::NotTold)));
                return Ok(answers);
            }
            if !matches!(status, QueueStatus::Exists { .. }) {
                // A refusal has closed the channel; one that waits for its answer is of no use either.
                tokio::spawn(close(channel));
                channel = self.channel().await?;
            }
            answers.push((of, status));
        }
        // A channel of its own for each time: what the broker keeps of one does not grow.
        close(channel).await;
        Ok(answers)
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        amqp::close(&self.connection).await;
    }

    async fn channel(&self) -> Result<Channel, ProbeError> {
        let opening = timeout(ANSWER_TIMEOUT, self.connection.create_channel()).await;
        opening.map_err(|_| ProbeError::NoChannel)?.map_err(ProbeError::Lost)
    }
}

/// Asks for one queue, and makes none. A refusal closes the channel.
pub async fn ask(channel: &Channel, queue: &str) -> Result<lapin::Queue, lapin::Error> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await
}

fn refused(error: lapin::Error) -> Result<QueueStatus, ProbeError> {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => match refusal.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Ok(QueueStatus::Missing),
            AMQPErrorKind::Soft(_) => Ok(QueueStatus::NotTold),
            AMQPErrorKind::Hard(_) => Err(ProbeError::Lost(error)),
        },
        _ => Err(ProbeError::Lost(error)),
    }
}

async fn close(channel: Channel) {
    let _ = timeout(ANSWER_TIMEOUT, channel.close(REPLY_SUCCESS, "done".into())).await;
}
