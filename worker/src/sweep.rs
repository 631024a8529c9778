//! The sweep: brings members up to date whom no command touches. What is due happens to them long after it was, so that
//! late commands still find things as they were.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use loyalty_ledger::{BatchRequest, Events, sweep};
use loyalty_store::batch::Batch;
use loyalty_store::{Pool, StoreError, due};
use tokio::sync::Notify;

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
}

impl Sweep {
    /// One transaction. Returns how many rows of the ledger it wrote; none: nothing is left to do. Whoever is locked is
    /// left for the next time.
    pub(crate) async fn step(&self, pool: &Pool) -> Result<usize, StoreError> {
        let members = due::members(pool, self.late, MEMBERS).await?;
        if members.is_empty() {
            return Ok(0);
        }
        let programme = self.programme.get(pool).await?;
        let (batch, view) = Batch::open_free(pool, &BatchRequest::of_members(&members)).await?;
        let until = view.now.checked_sub(self.late).unwrap_or(Timestamp::MIN);
        let changes = sweep(view, until, programme, self.events);
        batch.commit(&changes, &[]).await?;
        if !changes.events.is_empty() {
            self.event_relay.notify_one();
        }
        Ok(changes.entries.len())
    }
}
