//! The sweep: once an hour, moves commands that have waited too long for their member's enrolment to the dead letters,
//! and writes down what became of replayed letters that nobody waited for.
//!
//! It never decides about a command that may still be applied: it takes the same locks as an enrolment.

use std::sync::Arc;
use std::time::Duration;

use loyalty_common::backoff;
use loyalty_common::publisher::chain;
use loyalty_store::{Pool, StoreError, letters, parked};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Between two sweeps. What is swept has waited for days, so an hour more or less is nothing to it.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Commands moved in one transaction: it holds the locks of as many members, and letters are written one by one.
const BATCH_COMMANDS: u32 = 200;

/// Sweeps now, every hour, and whenever `wake` is rung, until `shutdown`. Commands are kept waiting for `keep`.
pub async fn run(pool: Pool, keep: Duration, wake: Arc<Notify>, shutdown: CancellationToken) {
    let mut attempt = 0;
    while !shutdown.is_cancelled() {
        match sweep(&pool, keep, &shutdown).await {
            Ok(()) => {
                attempt = 0;
                shutdown.run_until_cancelled(tokio::time::timeout(INTERVAL, wake.notified())).await;
            }
            Err(error) => {
                let wait = backoff::delay(attempt, backoff::jitter());
                attempt = attempt.saturating_add(1);
                warn!(error = chain(&error), wait_ms = wait.as_millis(), "The sweep waits");
                shutdown.run_until_cancelled(tokio::time::sleep(wait)).await;
            }
        }
    }
    info!(part = "sweep", "Stopped");
}

async fn sweep(pool: &Pool, keep: Duration, shutdown: &CancellationToken) -> Result<(), StoreError> {
    let concluded = letters::settle_abandoned(pool).await?;
    if concluded > 0 {
        info!(letters = concluded, "Recorded what became of replayed dead letters");
    }
    while !shutdown.is_cancelled() {
        let found = parked::set_overdue_aside(pool, keep, BATCH_COMMANDS).await?;
        if found > 0 {
            warn!(commands = found, "Set commands aside that waited too long for an enrolment");
        }
        if found < BATCH_COMMANDS as usize {
            return Ok(());
        }
    }
    Ok(())
}
