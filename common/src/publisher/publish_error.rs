//! Why a message is not known to be safe in a queue, and whether it may still arrive.

use super::{ConnectionState, Refusal};

/// Why a message is not known to be safe. All but [`TimedOut`](Self::TimedOut) and [`Closed`](Self::Closed) say that
/// it is in no queue and will not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No queue is bound to the routing key. Run `loyalty topology`.
    #[error("no queue takes messages of exchange {exchange} with key {routing_key}; is the topology declared?")]
    Unroutable {
        /// The exchange it went to.
        exchange: &'static str,
        /// The key that led nowhere.
        routing_key: String,
    },
    /// The queue refused it: it is full.
    #[error("the queue of exchange {exchange} with key {routing_key} is full")]
    QueueFull {
        /// The exchange it went to.
        exchange: &'static str,
        /// The key of the queue.
        routing_key: String,
    },
    /// The broker closed the channel over it, or over the question whether it would take it.
    #[error("RabbitMQ refuses what is published: {refusal}")]
    Refused {
        /// What the broker said.
        refusal: Refusal,
    },
    /// The broker took nothing in time, so the message was not sent.
    #[error("RabbitMQ is short of memory or disk and takes no messages: {reason}")]
    Blocked {
        /// What the broker said.
        reason: String,
    },
    /// There was no connection in time, so the message was not sent.
    #[error("there was no connection to RabbitMQ: {reason}")]
    Disconnected {
        /// The last failure to connect.
        reason: String,
    },
    /// The window was full of other messages all the time, so this one was not sent.
    #[error("RabbitMQ confirms too slowly; the message was not sent")]
    Overloaded,
    /// The message was sent and no confirm came in time. It may still arrive: repeat it under the same id.
    #[error("RabbitMQ did not confirm the message in time ({connection}); it may still arrive")]
    TimedOut {
        /// How the publisher stood with the broker then.
        connection: ConnectionState,
    },
    /// The publisher was closed. The message may arrive if it was sent before.
    #[error("the publisher is closed")]
    Closed,
}

impl PublishError {
    /// Whether the message may be in a queue all the same, or get there later.
    pub const fn may_arrive(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Closed => true,
            Self::Unroutable { .. }
            | Self::QueueFull { .. }
            | Self::Refused { .. }
            | Self::Blocked { .. }
            | Self::Disconnected { .. }
            | Self::Overloaded => false,
        }
    }

    /// A word for the kind, among figures and traces.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unroutable { .. } => "unroutable",
            Self::QueueFull { .. } => "queue_full",
            Self::Refused { .. } => "refused",
            Self::Blocked { .. } => "blocked",
            Self::Disconnected { .. } => "disconnected",
            Self::Overloaded => "overloaded",
            Self::TimedOut { .. } => "timed_out",
            Self::Closed => "closed",
        }
    }

    /// What kept a message from being sent until its deadline.
    pub(super) fn not_sent(link: ConnectionState) -> Self {
        match link {
            ConnectionState::Up => Self::Overloaded,
            ConnectionState::Blocked(reason) => Self::Blocked { reason },
            ConnectionState::Refused(refusal) => Self::Refused { refusal },
            ConnectionState::Down(reason) => Self::Disconnected { reason },
        }
    }
}
