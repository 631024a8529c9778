//! Everything that knows SQL. Functions are named by what their callers intend; rows go in and out as plain types.
//!
//! [`batch`] is the one place where balances change. The others read, or carry mails and dead letters;
//! [`letters`] and [`mails`] are the operator's side of these, [`rebuild`] mends members through [`batch`], and [`watch`]
//! counts what waits. [`token`] knows who may use the bridge.

pub mod batch;
pub mod clock;
mod connection;
pub mod contact;
pub mod dead_letter;
pub mod email;
pub mod events;
pub mod letters;
pub mod mails;
pub mod migrate;
pub mod outbox;
pub mod parked;
pub mod permission;
pub mod pool;
pub mod read;
pub mod rebuild;
pub mod receipt_poller;
pub mod rows;
pub mod standings;
pub mod suspect;
pub mod token;
mod transaction;
pub mod verify;
pub mod watch;

pub use connection::Connection;
pub use pool::{Pool, StoreError};
