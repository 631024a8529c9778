//! What other systems link to put commands on the queue: partition, publish, wait for the confirm.
//!
//! A confirmed command is applied, refused with a recorded reason, or set aside for an operator; it is never lost.
//! The broker may restart meanwhile: what it did not confirm is sent again under the same command id. A [`Command`]
//! is valid by construction, so nothing is checked twice, and neither SQL nor HTTP belongs here.
//!
//! ```no_run
//! use loyalty_producer::{Command, Earn, Limits, Points, Producer, SecretUrl};
//!
//! # async fn sell() -> Result<(), Box<dyn std::error::Error>> {
//! let url = SecretUrl::parse("amqp://till:secret@rabbitmq.example/shop")?;
//! let producer = Producer::connect(url, "till 7", Limits::default()).await?;
//!
//! let purchase = Command::new("123".parse()?, Earn { points: Points::try_new(50)? });
//! producer.publish(&purchase).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Who repeats a command, after a crash or an error, repeats it under its `command_id`: it is applied once.

#![warn(missing_docs, reason = "other systems link this")]

mod many;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use loyalty_common::envelope;
use loyalty_common::publisher::Publisher;
use loyalty_common::topology;
use tokio::sync::watch;

pub use loyalty_common::command::payloads::*;
pub use loyalty_common::envelope::TraceContext;
pub use loyalty_common::publisher::{
    Confirmed, ConnectionState, Limits, PublishError, PublisherStats, Refusal, Unconfirmed, WhenBlocked,
};
pub use loyalty_common::secret::SecretUrl;
pub use loyalty_common::values::Invalid;
pub use loyalty_common::{Action, Change, Command, CommandId, EmailAddress, MemberId, Points, Text};

pub use crate::many::{Published, Summary};

/// How long [`Producer::connect`] waits: one whole attempt to connect (10 s) and a little.
const FIRST_CONNECTION_TIMEOUT: Duration = Duration::from_secs(12);

/// Publishes commands. Cheap to clone: clones share one connection and one window of unconfirmed commands.
#[derive(Clone, Debug)]
pub struct Producer {
    publisher: Publisher,
    app_id: Arc<str>,
    trace: Option<TraceContext>,
    window: usize,
}

impl Producer {
    /// Connects, and waits until the connection stands. `name` says who publishes, in the broker's list of
    /// connections and in each message (`app_id`).
    pub async fn connect(url: SecretUrl, name: &str, limits: Limits) -> Result<Self, ConnectError> {
        let producer = Self::with(Publisher::start(url, name, limits), name, limits);
        let mut link = producer.connection();
        let stands = link.wait_for(|link| !matches!(link, ConnectionState::Down(_)));
        // Whether it stands or the time is over, the link says.
        let _ = tokio::time::timeout(FIRST_CONNECTION_TIMEOUT, stands).await;
        match link.borrow().clone() {
            ConnectionState::Down(reason) => Err(ConnectError { reason }),
            ConnectionState::Up | ConnectionState::Blocked(_) | ConnectionState::Refused(_) => Ok(producer),
        }
    }

    /// As [`connect`](Self::connect), without waiting: for services that must start while the broker is away. Its
    /// [`connection`](Self::connection) tells besides whether the broker would take commands, and while it would not
    /// (the exchange or the right to write to it is missing) each is refused at once.
    pub fn start(url: SecretUrl, name: &str, limits: Limits) -> Self {
        Self::with(Publisher::probing(url, name, limits, topology::COMMANDS), name, limits)
    }

    fn with(publisher: Publisher, name: &str, limits: Limits) -> Self {
        Self { publisher, app_id: name.into(), trace: None, window: limits.window }
    }

    /// A producer on the same connection that sends each command as part of a distributed trace.
    #[must_use]
    pub fn traced(&self, trace: TraceContext) -> Self {
        Self { trace: Some(trace), ..self.clone() }
    }

    /// Publishes a command and waits for the confirm.
    pub async fn publish(&self, command: &Command) -> Result<Confirmed, PublishError> {
        self.submit(command).await?.confirmed().await
    }

    /// Hands a command over, waiting while the window is full, and returns the promise of its confirm. Commands
    /// submitted one after the other are sent in that order, without waiting for each other's confirms.
    pub async fn submit(&self, command: &Command) -> Result<Unconfirmed, PublishError> {
        let message = envelope::message(command, &self.app_id, self.trace.as_ref(), SystemTime::now());
        self.publisher.submit(message).await
    }

    /// How the producer stands with its broker, now and as it changes.
    pub fn connection(&self) -> watch::Receiver<ConnectionState> {
        self.publisher.connection()
    }

    /// What it has under way, for whoever watches over it.
    pub fn stats(&self) -> PublisherStats {
        self.publisher.stats()
    }
}

/// The broker could not be reached in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there was no connection to RabbitMQ within 12 seconds: {reason}")]
pub struct ConnectError {
    /// What the last attempt said.
    pub reason: String,
}
