//! Everything that knows SQL. Functions are named by what their callers intend; rows go in and out as plain types.
//!
//! [`batch`] is the one place where balances change. The others read, or carry mails and dead letters.

pub mod batch;
pub mod dead_letter;
pub mod email;
pub mod migrate;
pub mod outbox;
pub mod pool;
pub mod read;
pub mod rows;
pub mod standings;
mod transaction;
pub mod verify;

pub use pool::{Pool, StoreError};
