//! Maintenance: once an hour, brings members up to date of whom something is due, warns others of points that expire
//! soon, moves commands that have waited too long for their member's enrolment to the dead letters, re-queues emails
//! whose send request was lost, and writes down what became of replayed dead letters that nobody waited for.
//!
//! It never decides about a command that may still be applied: it takes the same locks as an enrolment.

use std::sync::Arc;
use std::time::Duration;

use loyalty_common::backoff;
use loyalty_common::error_chain::chain;
use loyalty_store::{Pool, StoreError, dead_letters, emails, parked};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::sweep::Sweep;
use crate::warnings::Warnings;

/// Between two runs. What is moved has waited for hours or days, so an hour more or less is nothing to it.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Commands moved in one transaction: it holds the locks of as many members, and dead letters are written one by one.
const BATCH_COMMANDS: u32 = 200;

/// How long an email may be due without an attempt before its request counts as lost. A queue is behind by seconds or
/// minutes; when it is behind for longer, asking twice only makes it longer.
const OVERDUE: Duration = Duration::from_secs(6 * 60 * 60);

/// Emails asked for again by one run. Lost requests are rare, and a queue that is merely behind must not be filled.
const OVERDUE_EMAILS: u32 = 200;

/// The work and its settings.
#[derive(Clone, Debug)]
pub struct Maintenance {
    /// The database.
    pub pool: Pool,
    /// How long commands may wait for an enrolment.
    pub parked_keep: Duration,
    /// Whether emails are sent at all. While they are not, they wait in their queue, and more requests would fill it.
    pub sends_emails: bool,
    pub sweep: Sweep,
    pub warnings: Warnings,
}

impl Maintenance {
    /// Runs now, every hour, and whenever `wake` is notified, until `shutdown`.
    pub async fn run(self, wake: Arc<Notify>, shutdown: CancellationToken) {
        let mut attempt = 0;
        while !shutdown.is_cancelled() {
            if self.run_once(&shutdown).await {
                attempt = 0;
                shutdown.run_until_cancelled(tokio::time::timeout(INTERVAL, wake.notified())).await;
            } else {
                let wait = backoff::delay(attempt, backoff::jitter());
                attempt = attempt.saturating_add(1);
                info!(wait_ms = wait.as_millis(), "Retrying maintenance");
                shutdown.run_until_cancelled(tokio::time::sleep(wait)).await;
            }
        }
        info!(part = "maintenance", "Stopped");
    }

    /// Each step on its own: what fails of one keeps none of the others from running. Returns whether all went well.
    async fn run_once(&self, shutdown: &CancellationToken) -> bool {
        let steps = [
            ("replayed dead letters", self.settle_abandoned().await),
            ("overdue emails", self.requeue_overdue().await),
            ("parked commands", self.set_parked_aside(shutdown).await),
            ("members", self.bring_up_to_date(shutdown).await),
            ("warnings", self.warn(shutdown).await),
        ];
        for (step, result) in &steps {
            if let Err(error) = result {
                warn!(step, error = chain(error), "A step of the maintenance failed; the others went on");
            }
        }
        steps.iter().all(|(_, result)| result.is_ok())
    }

    async fn settle_abandoned(&self) -> Result<(), StoreError> {
        let concluded = dead_letters::settle_abandoned(&self.pool).await?;
        if concluded > 0 {
            info!(dead_letters = concluded, "Recorded the outcome of replayed dead letters");
        }
        Ok(())
    }

    async fn requeue_overdue(&self) -> Result<(), StoreError> {
        if self.sends_emails {
            let requeued = emails::ask_for_overdue(&self.pool, OVERDUE, OVERDUE_EMAILS).await?;
            if requeued > 0 {
                warn!(emails = requeued, "Re-queued overdue emails whose send request was lost");
            }
        }
        Ok(())
    }

    async fn bring_up_to_date(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let until = self.sweep.due_until(&self.pool).await?;
        let rows = self.sweep.run(&self.pool, until, shutdown).await?;
        if rows > 0 {
            info!(rows, "Brought members up to date: points expired, holds ran out");
        }
        Ok(())
    }

    async fn warn(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let warned = self.warnings.run(&self.pool, shutdown).await?;
        if warned > 0 {
            info!(warnings = warned, "Warned members of points that expire soon");
        }
        Ok(())
    }

    async fn set_parked_aside(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        while !shutdown.is_cancelled() {
            let found = parked::set_overdue_aside(&self.pool, self.parked_keep, BATCH_COMMANDS).await?;
            if found > 0 {
                warn!(commands = found, "Dead-lettered commands that waited too long for an enrolment");
            }
            if found < BATCH_COMMANDS as usize {
                return Ok(());
            }
        }
        Ok(())
    }
}
