//! Private servers as child processes: a `PostgreSQL`, a `RabbitMQ` and a mailbox of our own, for `loyalty dev` and
//! for the tests.
//!
//! Every server listens on 127.0.0.1 only, on a free port, with a random password, keeps everything it writes in
//! one directory, and ends with this process however this process ends. A server that the machine runs for others
//! is never touched. Read in this order: [`Servers`], [`Postgres`], [`RabbitMq`], then [`Mailbox`] and [`Proxy`],
//! which are not child processes at all, and [`PgBouncer`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is"))]

mod binaries;
mod data_dir;
mod lock;
mod log_file;
mod mailbox;
mod management;
mod pgbouncer;
mod ports;
mod postgres;
mod process;
mod proxy;
mod rabbitmq;
mod servers;
mod service_user;
mod toggle_listener;
pub mod wait;

pub use binaries::MissingBinary;
pub use data_dir::DataDirError;
pub use lock::LockError;
pub use mailbox::{Behaviour, Email, Mailbox, MailboxError};
pub use management::ManagementError;
pub use pgbouncer::{PgBouncer, PgBouncerError, PoolMode};
pub use postgres::{Durability, Postgres, PostgresError};
pub use process::ProcessError;
pub use proxy::{Proxy, ProxyError};
pub use rabbitmq::{RabbitMq, RabbitMqError};
pub use servers::{Servers, ServersError};
pub use service_user::ServiceUserError;
