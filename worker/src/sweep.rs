//! The sweep: brings members up to date whom no command touches. What is due happens to them long after it was, so that
//! late commands still find things as they were.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use loyalty_ledger::{BatchRequest, Events, sweep};
use loyalty_store::batch::Batch;
use loyalty_store::member_statuses::clock;
use loyalty_store::{Pool, StoreError, due};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::metrics::PointsMoved;
use crate::registered_programme::RegisteredProgramme;

/// Members of one partition in one transaction, which holds their locks.
const MEMBERS: u32 = 50;

/// The work and its settings.
#[derive(Clone, Debug)]
pub struct Sweep {
    pub programme: Arc<RegisteredProgramme>,
    /// How long after it was due something happens to a member whom no command touches.
    pub late: Duration,
    pub events: Events,
    /// Notified after a commit that left events.
    pub event_relay: Arc<Notify>,
    pub points: PointsMoved,
}

impl Sweep {
    /// Up to when members are brought up to date whom no command touches: `late` before the database's now.
    pub async fn due_until(&self, pool: &Pool) -> Result<Timestamp, StoreError> {
        Ok(clock(pool).await?.checked_sub(self.late).unwrap_or(Timestamp::MIN))
    }

    /// Lets everything happen that was due at `until` or before, but nothing that is not due yet by the database's
    /// clock. Ends early on `shutdown`. Returns how many rows of the ledger it wrote. Whoever is locked is left for the
    /// next time.
    pub async fn run(&self, pool: &Pool, until: Timestamp, shutdown: &CancellationToken) -> Result<usize, StoreError> {
        let until = until.min(clock(pool).await?);
        let mut written = 0;
        while !shutdown.is_cancelled() {
            let rows = self.step(pool, until).await?;
            if rows == 0 {
                break;
            }
            written += rows;
        }
        Ok(written)
    }

    /// One transaction. Returns how many rows it wrote; none: nothing is left to do.
    async fn step(&self, pool: &Pool, until: Timestamp) -> Result<usize, StoreError> {
        let members = due::members(pool, until, MEMBERS).await?;
        if members.is_empty() {
            return Ok(0);
        }
        let programme = self.programme.get(pool).await?;
        let (batch, view) = Batch::open_free(pool, &BatchRequest::of_members(&members)).await?;
        let changes = sweep(view, until, programme, self.events);
        batch.commit(&changes, &[]).await?;
        self.points.committed(&changes.entries);
        if !changes.events.is_empty() {
            self.event_relay.notify_one();
        }
        Ok(changes.entries.len())
    }
}
