//! Between the assignment and the consumers: which partitions are to be consumed, and which are.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use loyalty_common::Partition;
use loyalty_store::workers::Subscriptions;
use tokio::sync::{Notify, watch};

use super::turns::Turn;
use crate::demand::Demand;

/// How long to wait for others of a session's subscriptions, which come one after the other, before the database is told.
const GATHERING: Duration = Duration::from_millis(20);

/// The turns of all partitions, and what was subscribed to.
#[derive(Debug)]
pub(crate) struct AssignedPlaces {
    turns: [watch::Sender<Option<Turn>>; 16],
    /// Whether the turns are known.
    known: watch::Sender<bool>,
    subscriptions: [AtomicI64; 16],
    /// The number of the last subscription.
    last: AtomicI64,
    changed: Notify,
}

impl Default for AssignedPlaces {
    fn default() -> Self {
        Self {
            turns: std::array::from_fn(|_| watch::Sender::default()),
            known: watch::Sender::default(),
            subscriptions: Default::default(),
            last: AtomicI64::default(),
            changed: Notify::default(),
        }
    }
}

impl AssignedPlaces {
    /// Tells the consumers.
    pub(super) fn give(&self, turns: &[Option<Turn>; 16]) {
        for (sender, turn) in self.turns.iter().zip(turns) {
            sender.send_if_modified(|now| std::mem::replace(now, *turn) != *turn);
        }
        self.known.send_replace(true);
    }

    /// Returns once the turns are known.
    pub(crate) async fn known(&self) {
        let _ = self.known.subscribe().wait_for(|known| *known).await;
    }

    /// Whether any partition is to be consumed.
    pub(crate) fn any(&self) -> bool {
        self.turns.iter().any(|turn| turn.borrow().is_some())
    }

    /// When a partition is to be consumed.
    pub(crate) fn demand(self: &Arc<Self>, partition: Partition) -> Demand {
        let (at, places) = (usize::from(partition.number()), Arc::clone(self));
        let subscribed = move |subscribed| places.has_subscribed(at, subscribed);
        Demand::in_turns(self.turns[at].subscribe(), Arc::new(subscribed))
    }

    /// The session with the broker is over, and all subscriptions with it.
    pub(crate) fn session_ended(&self) {
        for at in 0..self.subscriptions.len() {
            self.has_subscribed(at, false);
        }
    }

    /// The subscriptions as they are now.
    pub(super) fn subscriptions(&self) -> Subscriptions {
        self.subscriptions.each_ref().map(|number| number.load(Ordering::Relaxed))
    }

    /// Returns when something was subscribed to, or is not any more.
    pub(super) async fn subscriptions_changed(&self) {
        self.changed.notified().await;
        tokio::time::sleep(GATHERING).await;
    }

    fn has_subscribed(&self, at: usize, subscribed: bool) {
        let number = if subscribed { self.last.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
        if self.subscriptions[at].swap(number, Ordering::Relaxed) != number {
            self.changed.notify_one();
        }
    }
}
