//! The harness of the system tests: a [`World`] gives a test its own database, virtual host and mailbox, and verbs
//! that read as prose.
//!
//! What is tested runs as in production: the built binary `loyalty` as child processes, against real servers. There
//! is no hook in the product; what goes wrong in a test goes wrong outside of it, by a signal, a lock or a
//! [`Proxy`]. Read [`world`] first, then [`publishing`], [`trading`], [`settling`],
//! [`reading`] and [`listening`], which are its verbs.
//!
//! [`Proxy`]: loyalty_local::Proxy
#![expect(clippy::disallowed_methods, reason = "it plays other systems, and its variables say on which servers")]
#![allow(clippy::missing_panics_doc, reason = "a test that cannot go on stops where it is; so does its harness")]

mod binary;
pub mod bridge;
#[cfg(feature = "otel")]
pub mod collector;
mod endpoint;
pub mod figures;
pub mod http;
pub mod least;
pub mod listening;
pub mod locking;
pub mod operating;
pub mod poison;
pub mod program;
pub mod publishing;
pub mod reading;
mod servers;
pub mod settling;
pub mod trading;
pub mod world;

pub use bridge::Bridge;
pub use least::Part;
pub use loyalty_local::wait::{PATIENCE, eventually};
pub use loyalty_testkit::scratch::dir as scratch;
pub use program::Program;
pub use publishing::{Raw, member_in, points};
pub use trading::{Trade, trade};
pub use world::{Setup, Way, World};
