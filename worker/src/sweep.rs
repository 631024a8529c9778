//! The sweep: brings members up to date whom no command touches. What is due happens to them long after it was, so that
//! late commands still find things as they were.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use loyalty_common::error_chain::chain;
use loyalty_common::{MemberId, Partition};
use loyalty_ledger::{BatchRequest, Entry, Events, Programme, sweep};
use loyalty_store::batch::Batch;
use loyalty_store::member_statuses::clock;
use loyalty_store::{Pool, StoreError, due};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::metrics::PointsMoved;
use crate::registered_programme::RegisteredProgramme;

/// Members of one partition in one transaction, which holds their locks.
const MEMBERS: u32 = 50;

/// Members of one partition whom a run passes over before it leaves the partition to the next. So many are no accident
/// of single members, and each costs a transaction for every halving.
const PASSED_OVER_MAX: usize = 500;

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
    /// clock, to some members of one partition at a time. Ends early on `shutdown`. Whoever is locked, or refused by
    /// PostgreSQL, is passed over and left for the next run; all others go on. Returns how many rows of the ledger it
    /// wrote.
    pub async fn run(&self, pool: &Pool, until: Timestamp, shutdown: &CancellationToken) -> Result<usize, StoreError> {
        let until = until.min(clock(pool).await?);
        let mut written = 0;
        for partition in Partition::all() {
            let mut passed_over = Vec::new();
            while !shutdown.is_cancelled() && passed_over.len() < PASSED_OVER_MAX {
                let members = due::members(pool, partition, until, &passed_over, MEMBERS).await?;
                if members.is_empty() {
                    break;
                }
                written += self.bring_up_to_date(pool, members, until, &mut passed_over).await?;
            }
            if passed_over.len() >= PASSED_OVER_MAX {
                warn!(
                    partition = %partition,
                    members = passed_over.len(),
                    "Too many members of a partition were passed over; its other members wait for the next run"
                );
            }
        }
        Ok(written)
    }

    /// One transaction; if it is refused, its halves, until the culprit is alone. Returns how many rows of the ledger
    /// were written.
    async fn bring_up_to_date(
        &self,
        pool: &Pool,
        members: Vec<MemberId>,
        until: Timestamp,
        passed_over: &mut Vec<MemberId>,
    ) -> Result<usize, StoreError> {
        let programme = self.programme.get(pool).await?;
        let mut rows = 0;
        let mut parts = vec![members];
        while let Some(mut part) = parts.pop() {
            match self.attempt(pool, programme, &part, until).await {
                Ok(entries) => {
                    rows += entries.len();
                    // Locked, or nothing is due of them whatever their row says: they must not come again either.
                    let written: HashSet<&MemberId> = entries.iter().map(|entry| &entry.member_id).collect();
                    part.retain(|member| !written.contains(member));
                    passed_over.extend(part);
                }
                Err(error) if lies_in_members(&error) => {
                    let half = part.split_off(part.len() / 2);
                    if let (true, [member]) = (part.is_empty(), half.as_slice()) {
                        let (member, error) = (member.masked(), chain(&error));
                        warn!(
                            member.id = member,
                            error,
                            "Cannot bring a member up to date; passed over until the next run. Check them with `loyalty verify`"
                        );
                        passed_over.extend(half);
                    } else {
                        parts.extend([half, part]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(rows)
    }

    /// One transaction. Returns what it wrote to the ledger.
    async fn attempt(
        &self,
        pool: &Pool,
        programme: &Programme,
        members: &[MemberId],
        until: Timestamp,
    ) -> Result<Vec<Entry>, StoreError> {
        let (batch, view) = Batch::open_free(pool, &BatchRequest::of_members(members)).await?;
        let changes = sweep(view, until, programme, self.events);
        batch.commit(&changes, &[]).await?;
        self.points.committed(&changes.entries);
        if !changes.events.is_empty() {
            self.event_relay.notify_one();
        }
        Ok(changes.entries)
    }
}

/// Whether a failure lies in what is stored of these members, or in how much it is at once.
fn lies_in_members(error: &StoreError) -> bool {
    error.is_content_refused() || error.is_cut_short()
}
