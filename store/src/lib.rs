//! Everything that knows SQL. Functions are named by what their callers intend; rows go in and out as plain types.
//!
//! [`batch`] is the one place where balances change. The others read, or carry [`emails`] and [`dead_letters`];
//! [`rebuild`] repairs members through [`batch`], [`backlog`] counts what waits, and [`books`] what members have.
//! [`token`] knows who may use the bridge, [`workers`] which workers live.

pub mod approval;
pub mod backlog;
pub mod batch;
pub mod books;
pub mod clock;
mod connection;
pub mod crash_suspects;
pub mod dead_letters;
pub mod due;
mod email_id;
pub mod emails;
pub mod events;
mod ledger_row;
mod member_row;
pub mod member_statuses;
pub mod migrate;
pub mod outbox;
pub mod parked;
mod partition;
pub mod pool;
pub mod programme;
pub mod read;
pub mod rebuild;
pub mod receipt_poller;
pub mod token;
mod transaction;
pub mod verify;
pub mod workers;

pub use connection::Connection;
pub use pool::{Pool, StoreError};

/// The most rows of one page: what an answer can hold without anybody noticing its size.
pub const PAGE_MAX: u32 = 1_000;
