//! The harness of the system tests: a [`World`] gives a test its own database, virtual host and mailbox, and verbs
//! that read as prose.
//!
//! What is tested runs as in production: the built binary `loyalty` as child processes, against real servers. There
//! is no hook in the product; what goes wrong in a test goes wrong outside of it, by a signal, a lock or a
//! [`Proxy`]. Read [`world`] first, then [`publish`], [`traffic`], [`settled`],
//! [`queries`], [`second_opinion`] and [`event_listener`], which are its verbs.
//!
//! [`Proxy`]: loyalty_local::Proxy
#![expect(clippy::disallowed_methods, reason = "it plays other systems, and its variables say on which servers")]
#![allow(clippy::missing_panics_doc, reason = "a test that cannot go on stops where it is; so does its harness")]

pub mod accounts;
mod binary;
pub mod bridge;
#[cfg(feature = "otel")]
pub mod collector;
pub mod database_lock;
mod endpoint;
pub mod event_listener;
pub mod http;
pub mod metrics;
pub mod operator;
pub mod poison;
pub mod program;
pub mod publish;
mod published;
pub mod queries;
/// The rules of points as the tests of `ledger` have them.
#[path = "../../ledger/tests/second_opinion"]
#[allow(dead_code, unused_imports, reason = "those tests ask for more of it")]
mod rules_of_points {
    pub(crate) mod model;
}
pub mod second_opinion;
mod servers;
pub mod settled;
pub mod traffic;
pub mod workers;
pub mod world;

pub use accounts::Account;
pub use bridge::Bridge;
pub use loyalty_local::wait::{PATIENCE, eventually};
pub use loyalty_testkit::scratch::dir as scratch;
pub use program::Program;
pub use publish::{Raw, member_in, points};
pub use second_opinion::SecondOpinion;
pub use traffic::{Life, Traffic, purchases, traffic};
pub use world::{Route, Setup, World};
