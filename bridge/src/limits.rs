//! What a bridge may hold at once and how long anything may take. Nothing that a client or a server does can make it
//! hold more, or wait longer.

use std::time::Duration;

/// The bounds of one bridge.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections. Each holds a read buffer of [`head_bytes`](Self::head_bytes) at most; those beyond wait in
    /// the system's backlog.
    pub connections: usize,
    /// The head of a request in bytes: request line and headers. Browsers and proxies stay below 8 KiB.
    pub head_bytes: usize,
    /// How long a client may take to send a head; also how long a connection may idle between requests.
    pub head_timeout: Duration,
    /// The body of a request in bytes: the contract's bound of a command.
    pub body_bytes: usize,
    /// How long a client may take to send a body. A till on a slow line sends 64 KiB within seconds.
    pub body_timeout: Duration,
    /// Requests under way. One beyond is answered with 503 at once, which is cheaper for all than queueing.
    pub requests: usize,
    /// Requests that wait for a receipt. One beyond is answered with 202 at once: its command is published.
    pub waiters: usize,
    /// How long a request waits for the receipt. Far above what an idle system needs, and still an answer while a
    /// customer stands at the till.
    pub receipt_wait: Duration,
    /// How long the confirm of a command may take. Longer than a slow disk, shorter than clients wait.
    pub confirm_timeout: Duration,
    /// How long a read of the database may take before it counts as away.
    pub read_timeout: Duration,
    /// Connections to the database. Reads take a millisecond; a few serve thousands of requests a second.
    pub database_connections: usize,
    /// How long a stopping bridge may finish what is under way: the slowest request and a little.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2_048,
            head_bytes: 16 * 1024,
            head_timeout: Duration::from_secs(15),
            body_bytes: loyalty_common::command::BODY_MAX_BYTES,
            body_timeout: Duration::from_secs(10),
            requests: 1_024,
            waiters: 512,
            receipt_wait: Duration::from_secs(2),
            confirm_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(1),
            database_connections: 8,
            drain: Duration::from_secs(20),
        }
    }
}
