//! Why a broker refuses what is published, as it says when it closes the channel over it.
//!
//! AMQP has no refusal of one message: the channel ends. The message that ended it is in no queue, and neither is what
//! was sent behind it; what was sent before it may be, and its confirms are lost with the channel.

use std::fmt;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

/// Why the broker refuses what is published, with its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such exchange. Run `loyalty topology`.
    NoExchange(String),
    /// The user may not write to the exchange.
    Forbidden(String),
    /// Another rule of the broker, its bound of a message's size say.
    Other(String),
}

impl Refusal {
    /// What closed a channel on which nothing but publishing happens; none, if it was lost with its connection.
    pub(super) fn of(error: &lapin::Error) -> Option<Self> {
        let ErrorKind::ProtocolError(error) = error.kind() else { return None };
        let said = error.to_string();
        match error.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Some(Self::NoExchange(said)),
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Some(Self::Forbidden(said)),
            AMQPErrorKind::Soft(_) => Some(Self::Other(said)),
            AMQPErrorKind::Hard(_) => None,
        }
    }

    /// What the broker said.
    pub fn said(&self) -> &str {
        match self {
            Self::NoExchange(said) | Self::Forbidden(said) | Self::Other(said) => said,
        }
    }

    /// Whether the broker names this exchange: all that goes there meets the same refusal.
    pub(super) fn names(&self, exchange: &str) -> bool {
        self.said().contains(&format!("exchange '{exchange}'"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.said())
    }
}
