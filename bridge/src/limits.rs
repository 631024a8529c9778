//! What a bridge may hold at once and how long anything may take. Nothing that a client or a server does can make it
//! hold more, or wait longer.

use std::time::Duration;

use tokio::sync::Semaphore;

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
    /// How long a client may take nothing of its answer. A slow line takes something every second.
    pub write_timeout: Duration,
    /// The body of a batch in bytes: [`batch_lines`](Self::batch_lines) commands whose texts are all at their bounds
    /// have 1.3 KiB each, and escapes need some room.
    pub batch_bytes: usize,
    /// Commands of one batch. A till that was offline for a day has some hundreds.
    pub batch_lines: usize,
    /// Batches under way. Each holds [`batch_bytes`](Self::batch_bytes) and what they are decoded to, and a few fill
    /// the broker's window already.
    pub batches: usize,
    /// Requests under way. One beyond is answered with 503 at once, which is cheaper for all than queueing.
    pub requests: usize,
    /// From the head of a request to its answer. Above the sum of the parts that have bounds of their own (body, look
    /// at the database, confirm, wait): it only ends what none of those did.
    pub request_timeout: Duration,
    /// Requests that wait for a receipt. One beyond is answered with 202 at once: its command is published.
    pub waiters: usize,
    /// How long a request waits for the receipt. Far above what an idle system needs, and still an answer while a
    /// customer stands at the till.
    pub receipt_wait: Duration,
    /// The longest wait that a client may ask for. It holds a place among the waiters meanwhile.
    pub receipt_wait_max: Duration,
    /// How long the confirm of a command may take. Longer than a slow disk, shorter than clients wait.
    pub confirm_timeout: Duration,
    /// How long a read of the database may take before it counts as away.
    pub read_timeout: Duration,
    /// Connections to the database. Reads take a millisecond; a few serve thousands of requests a second.
    pub database_connections: usize,
    /// How long a search among the members may take, which reads their whole table in the worst case: seconds for
    /// millions of them.
    pub search_timeout: Duration,
    /// Searches under way, each on a connection of its own, so that they take none from the reads by key.
    pub searches: usize,
    /// How long a stopping bridge may finish what is under way: as long as a request may take.
    pub drain: Duration,
}

impl Limits {
    /// How long a repeat waits for the request that it repeats: as long as that one takes for its confirm and its
    /// receipt.
    pub(crate) fn repeat_wait(&self) -> Duration {
        self.read_timeout + self.confirm_timeout + self.receipt_wait
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2_048,
            head_bytes: 16 * 1024,
            head_timeout: Duration::from_secs(15),
            body_bytes: loyalty_common::command::BODY_MAX_BYTES,
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            batch_bytes: 2 * 1024 * 1024,
            batch_lines: 1_000,
            batches: 16,
            requests: 1_024,
            request_timeout: Duration::from_secs(25),
            waiters: 512,
            receipt_wait: Duration::from_secs(2),
            receipt_wait_max: Duration::from_secs(5),
            confirm_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(1),
            database_connections: 8,
            search_timeout: Duration::from_secs(5),
            searches: 2,
            drain: Duration::from_secs(25),
        }
    }
}

/// A slot for each batch that may be under way.
#[derive(Debug)]
pub(crate) struct BatchSlots(pub(crate) Semaphore);

impl BatchSlots {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(Semaphore::new(limits.batches))
    }
}
