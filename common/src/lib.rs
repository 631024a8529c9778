//! The contract of `loyalty`: what both sides of the queue must agree on.
//!
//! Read in this order: [`command`] and [`receipt`] say what goes in and what comes back, [`event`] what is told to
//! whoever listens, [`partition`] and [`topology`] say where it travels, [`publisher`] gets it there with a confirm,
//! `schema` tells it to other systems, and [`traces`] what happened to it on its way.
//! Nothing here knows SQL or HTTP, and nothing that only one side needs belongs here.
//!
//! The contract as data compiles alone; what talks to a broker, logs or runs is behind the feature `amqp`, which is on
//! unless a crate says otherwise.

#![warn(missing_docs)]

#[macro_use]
mod string_enum;

#[cfg(feature = "amqp")]
pub mod amqp;
#[cfg(feature = "amqp")]
pub mod backoff;
pub mod command;
pub mod decode;
pub mod email_address;
pub mod entry_type;
#[cfg(feature = "amqp")]
pub mod envelope;
pub mod error_chain;
pub mod escape;
pub mod event;
pub mod ids;
pub mod partition;
#[cfg(feature = "amqp")]
pub mod publisher;
#[cfg(feature = "amqp")]
pub mod queue_probe;
pub mod receipt;
mod rfc3339;
#[cfg(feature = "schema")]
pub mod schema;
mod scope;
#[cfg(feature = "amqp")]
pub mod secret;
#[cfg(feature = "amqp")]
pub mod telemetry;
#[cfg(feature = "amqp")]
pub mod tls;
#[cfg(feature = "amqp")]
pub mod topology;
pub mod trace_context;
#[cfg(feature = "amqp")]
pub mod traces;
pub mod values;

pub use command::payloads::*;
pub use command::{Action, Change, Command, CommandType, Draft};
pub use email_address::EmailAddress;
pub use entry_type::{EntryType, SystemType};
pub use event::{Event, EventKind, EventType};
pub use ids::{CommandId, MemberId};
pub use partition::Partition;
pub use receipt::{Outcome, Receipt, RefusalCode};
pub use rfc3339::Moment;
pub use scope::Scope;
pub use trace_context::TraceContext;
pub use values::{Points, RewardNumber, SignedPoints, Text};
