//! The contract of `loyalty`: what both sides of the queue must agree on.
//!
//! Read in this order: [`command`] and [`receipt`] say what goes in and what comes back, [`event`] what is told to
//! whoever listens, [`partition`] and [`topology`] say where it travels, [`publisher`] gets it there with a confirm,
//! [`schema`] tells it to other systems, and [`traces`] what happened to it on its way.
//! Nothing here knows SQL or HTTP, and nothing that only one side needs belongs here.

#![warn(missing_docs)]

#[macro_use]
mod closed_set;

mod address;
pub mod amqp;
pub mod backoff;
pub mod command;
mod contact;
pub mod decode;
pub mod envelope;
pub mod event;
pub mod ids;
pub mod partition;
pub mod publisher;
pub mod queue_probe;
pub mod receipt;
mod rfc3339;
pub mod schema;
pub mod secret;
pub mod telemetry;
pub mod text;
pub mod tls;
pub mod topology;
pub mod traces;
pub mod visible;

pub use command::{Action, Command, CommandType, Draft};
pub use contact::{Change, ContactUpdate};
pub use event::{Event, EventType};
pub use ids::{CommandId, MemberId};
pub use partition::Partition;
pub use receipt::{Outcome, Receipt, RefusalCode};
pub use text::{EmailAddress, Points, Text};
