//! What a worker may hold at once. Everything that it keeps in memory is bounded by these numbers, whatever waits in
//! the queues.

use std::time::Duration;

/// The bounds of one worker.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Commands of one transaction. The more, the less each costs the database; and the longer their members are locked,
    /// which is 0.15 seconds for so many (measured on 2 cores).
    pub batch_commands: usize,
    /// Unacknowledged commands of one partition. Together with the partitions it bounds what the worker holds: 16 times
    /// 500 messages, of 300 bytes usually. A larger body than the contract's 64 KiB is refused only once it is here:
    /// the broker's own `max_message_size` is what bounds it.
    pub prefetch: u16,
    /// Transactions at the same time. Each partition belongs to one batch processor; more batch processors make smaller
    /// batches.
    pub processors: usize,
    /// Connections to the database for emails, outbox and dead letters. The batch processors have one each beside
    /// these.
    pub mail_connections: usize,
    /// How long a stopping worker may finish what it holds. What is not acknowledged by then is delivered to another.
    pub drain: Duration,
    /// How long a command may wait for its member's enrolment. Then it is a dead letter: a sender whose members never
    /// come is noticed by somebody, and the table does not grow for ever.
    pub parked_keep: Duration,
    /// How long after it was due something happens to a member whom no command touches. Until then a late command finds
    /// things as they were.
    pub sweep_late: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            batch_commands: 4_000,
            prefetch: 500,
            processors: 1,
            mail_connections: 8,
            drain: Duration::from_secs(20),
            parked_keep: DAY * 30,
            sweep_late: DAY * 2,
        }
    }
}
