//! The assignment: which partitions this worker takes. Workers know each other by a row that each writes every second;
//! any of them shares the partitions out anew when one has come or gone.
//!
//! A single active consumer is safe and not fair: if all subscribed to all queues, the first would have all of them and
//! the others nothing. So a partition has an owner, which subscribes; a standby, which subscribes behind, so that the
//! broker gives it the queue in the moment that the owner is gone; and all others stay away. [`plan`] says who gets what,
//! [`liveness`] who lives, [`turns`] when to subscribe, [`observer`] has all three together and is as pure; [`places`]
//! tells the consumers.
//!
//! No point rests on any of it: that two workers have a partition at once is harmless by the members' row locks and the
//! commands' ids. While the database is away, each worker keeps what it has.

mod liveness;
mod observer;
mod places;
mod plan;
#[cfg(test)]
mod simulation;
mod turns;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loyalty_common::error_chain::chain;
use loyalty_store::pool::{DatabaseUrl, PlannerProfile};
use loyalty_store::workers::{self, Heartbeat, Places};
use loyalty_store::{Pool, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::metrics::Metrics;
use observer::Observer;
pub(crate) use places::AssignedPlaces;
pub(crate) use turns::Turn;

/// Between two looks. What a look finds is acted on at the next one by others, so it bounds how soon a partition moves;
/// it is also what an idle worker costs the database.
const INTERVAL: Duration = Duration::from_secs(1);

/// Between two looks while somebody has not subscribed yet who is meant to: others wait for that.
const SOON: Duration = Duration::from_millis(200);

/// For how long after a change looks may come so soon. A queue that cannot be consumed must not have everybody look five
/// times a second for ever.
const SOON_FOR: Duration = Duration::from_secs(5);

/// How long a statement may run. They take milliseconds; below [`liveness::LATE`], so that one that hangs is given up
/// before it makes anybody late.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a worker that stops may take to remove its row. Without that others find it gone a few seconds later; its
/// standbys have its queues already.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The time over which the speed of a worker is told.
const SPEED_OVER: Duration = Duration::from_secs(10);

/// The part of a worker that takes part in the assignment.
#[derive(Debug)]
pub(crate) struct Assignment {
    pool: Pool,
    worker_id: Uuid,
    name: String,
    metrics: Metrics,
    places: Arc<AssignedPlaces>,
    observer: Observer,
    /// As the table had it at the last look; none before the first.
    read: Option<Places>,
    /// When it was last found changed.
    changed_at: Option<Instant>,
    /// How many commands were decided by when.
    decided: VecDeque<(Instant, u64)>,
}

impl Assignment {
    pub(crate) fn new(
        database: &DatabaseUrl,
        worker_id: Uuid,
        metrics: Metrics,
        places: Arc<AssignedPlaces>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            // Of its own: whatever else waits for the database, the worker must not seem dead.
            pool: Pool::with_timeout(database, PlannerProfile::Keys, 1, STATEMENT_TIMEOUT)?,
            worker_id,
            name: format!("{}/{}", host(), std::process::id()),
            metrics,
            places,
            observer: Observer::new(worker_id),
            read: None,
            changed_at: None,
            decided: VecDeque::new(),
        })
    }

    /// Takes part until `stop`, then leaves.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut told = false;
        while !stop.is_cancelled() {
            let next = match self.look(&stop).await {
                Ok(next) => {
                    told = false;
                    next
                }
                Err(error) => {
                    // Once an outage: whoever works with the database says the same.
                    if !std::mem::replace(&mut told, true) {
                        self.warn_of(&error);
                    }
                    INTERVAL
                }
            };
            // A worker that has subscribed says so at once: others wait for it.
            let next = tokio::time::timeout(next, self.places.subscriptions_changed());
            stop.run_until_cancelled(next).await;
        }
        match tokio::time::timeout(LEAVE_TIMEOUT, workers::leave(&self.pool, self.worker_id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = chain(&error), "Could not say that this worker stops; others will notice"),
            Err(_) => warn!("Could not say that this worker stops within 2 seconds; others will notice"),
        }
        info!(part = "assignment", "Stopped");
    }

    fn warn_of(&self, error: &StoreError) {
        let error = chain(error);
        if self.read.is_some() {
            warn!(error, "Cannot read which partitions are whose; this worker keeps what it has");
        } else {
            warn!(error, "Cannot read which partitions are whose; this worker takes none until it can");
        }
    }

    /// Says that this worker lives, looks who else does, shares out anew if that changes anything, and tells the
    /// consumers what is theirs. Answers how soon to look again.
    async fn look(&mut self, stop: &CancellationToken) -> Result<Duration, StoreError> {
        let pool = self.pool.clone();
        let heartbeat = self.heartbeat();
        let Some(all) = stop.run_until_cancelled(workers::beat(&pool, &heartbeat)).await else { return Ok(INTERVAL) };
        let mut all = all?;
        let now = Instant::now();
        self.observer.look(now, &all);
        if self.observer.reassignment(now, &all).is_some()
            && let Some(changed) = workers::reassign(&self.pool, |all| self.observer.reassignment(now, all)).await?
        {
            info!(workers = changed.workers.len(), "Shared the partitions out anew");
            all = changed;
        }
        self.places.give(&self.observer.turns(now, &all));
        let before = self.read.replace(all.places);
        if before != Some(all.places) {
            self.changed_at = Some(now);
            self.metrics.places.set(self.worker_id, &before.unwrap_or_default(), &all.places);
        }
        let is_new = self.changed_at.is_some_and(|at| now.duration_since(at) < SOON_FOR);
        Ok(if is_new && !observer::all_have_subscribed(&all) { SOON } else { INTERVAL })
    }

    fn heartbeat(&mut self) -> Heartbeat<'_> {
        let per_second = self.per_second(Instant::now());
        Heartbeat {
            worker_id: self.worker_id,
            name: &self.name,
            version: env!("CARGO_PKG_VERSION"),
            subscriptions: self.places.subscriptions(),
            per_second,
            behind: self.metrics.in_flight.oldest().as_secs_f64(),
        }
    }

    /// Commands that were decided in a second, lately.
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    fn per_second(&mut self, now: Instant) -> f64 {
        self.decided.push_back((now, self.metrics.commands_decided()));
        while self.decided.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= SPEED_OVER) {
            self.decided.pop_front();
        }
        let (Some((since, before)), Some((_, count))) = (self.decided.front(), self.decided.back()) else { return 0.0 };
        let seconds = now.duration_since(*since).as_secs_f64();
        if seconds > 0.0 { (count - before) as f64 / seconds } else { 0.0 }
    }
}

/// This machine's name, as others know it.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
