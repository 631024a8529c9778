//! Warnings: has members told of points that expire soon, once for each day, by an email and an event.
//!
//! Days are what a warning counts in, so the hourly maintenance is often enough. It tells what is stored: the sweep
//! goes first, and points whose day is over are gone, whether or not a row says so yet.

use std::sync::Arc;

use jiff::Timestamp;
use loyalty_common::{MemberId, Partition};
use loyalty_ledger::{BatchRequest, Changes, Events, Expiry, warnings};
use loyalty_store::batch::Batch;
use loyalty_store::due::{self, LotCursor, UnwarnedLot};
use loyalty_store::member_statuses::clock;
use loyalty_store::{Pool, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Lots looked at in one step, and members locked by one transaction at most.
const LOTS: u32 = 200;

/// The work and its settings.
#[derive(Clone, Debug)]
pub struct Warnings {
    /// Without it, or without days in it, nobody is warned.
    pub expiry: Option<Expiry>,
    pub events: Events,
    /// Notified after a commit that left emails.
    pub email_relay: Arc<Notify>,
    /// Notified after a commit that left events.
    pub event_relay: Arc<Notify>,
}

impl Warnings {
    /// Looks once at all lots whose warning may be due. Returns how many days members were warned of. Whoever is locked
    /// is left for the next time.
    pub(crate) async fn run(&self, pool: &Pool, shutdown: &CancellationToken) -> Result<usize, StoreError> {
        let Some(expiry) = self.expiry.as_ref().filter(|expiry| expiry.warn_days > 0) else { return Ok(0) };
        let now = clock(pool).await?;
        let Some(until) = expiry.warned_until(now) else { return Ok(0) };
        let mut warned = 0;
        for partition in Partition::all() {
            let mut cursor = LotCursor::before(now);
            while !shutdown.is_cancelled() {
                let lots = due::unwarned_lots(pool, partition, &cursor, until, LOTS).await?;
                let Some(last) = lots.last() else { break };
                cursor = LotCursor::after(last);
                warned += self.warn(pool, expiry, &to_warn(&lots, expiry, now)).await?;
            }
        }
        Ok(warned)
    }

    /// One transaction, which decides anew under the members' locks.
    async fn warn(&self, pool: &Pool, expiry: &Expiry, members: &[MemberId]) -> Result<usize, StoreError> {
        if members.is_empty() {
            return Ok(0);
        }
        let (batch, view) = Batch::open_free(pool, &BatchRequest::of_members(members)).await?;
        let changes = Changes { warnings: warnings(&view, expiry, self.events), ..Changes::default() };
        batch.commit(&changes, &[]).await?;
        self.email_relay.notify_one();
        if self.events == Events::On {
            self.event_relay.notify_one();
        }
        Ok(changes.warnings.len())
    }
}

/// Whose locks are worth taking.
fn to_warn(lots: &[UnwarnedLot], expiry: &Expiry, now: Timestamp) -> Vec<MemberId> {
    let due = lots.iter().filter(|unwarned| expiry.warns_of(&unwarned.lot, now));
    due.map(|unwarned| unwarned.member_id.clone()).collect()
}
