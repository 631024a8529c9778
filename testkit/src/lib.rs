//! The one harness of all crates' tests: private servers, and on them a [`Database`], a [`Vhost`] or a whole [`World`]
//! for each test. Verbs read as prose; what only one crate's tests do stands with them.
//!
//! No mocks: what goes wrong in a test goes wrong at a real server. A test that harms a server takes one of its own or
//! waits for its turn, see [`servers`]; all others share theirs, and meet nobody in their database and virtual host.
#![expect(clippy::disallowed_methods, reason = "it publishes as others do, and a variable names the run's servers")]
#![allow(clippy::missing_panics_doc, reason = "a test that cannot go on stops where it is; so does its harness")]

mod background;
mod database;
pub mod scratch;
pub mod servers;
mod vhost;
mod world;

pub use database::{Database, template};
pub use loyalty_local::wait::{PATIENCE, eventually, within};
pub use vhost::Vhost;
pub use world::World;

/// A name for a database or virtual host that no other test has, in this process or another.
pub fn unique(subject: &str) -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NAMES: AtomicUsize = AtomicUsize::new(0);
    format!("{subject}_{}_{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed))
}
