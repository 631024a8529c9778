//! What listeners are told of a batch: one event for each row of the ledger, one for each reward. Pure.
//!
//! The events go into the transaction of the batch. Nothing is published from here.

use jiff::Timestamp;
use loyalty_common::event::{EventKind, Reward};
use loyalty_common::{Action, Event};
use loyalty_store::rows::{LedgerRow, RewardRow};

/// Whether listeners are told what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Events {
    /// Nobody is told anything.
    #[default]
    Off,
    /// Each row of the ledger and each reward is an event.
    On,
}

/// The events of a batch, in the order in which they happened.
pub(crate) struct Telling {
    switch: Events,
    now: Timestamp,
    events: Vec<Event>,
}

impl Telling {
    /// `now` is the time of the transaction, which the ledger's rows get too.
    pub(crate) fn new(switch: Events, now: Timestamp) -> Self {
        Self { switch, now, events: Vec::new() }
    }

    /// Tells of a row of the ledger, written for a command of that action. `lifetime` is the member's after it.
    pub(crate) fn row(&mut self, row: &LedgerRow, action: &Action, lifetime: i64) {
        match self.switch {
            Events::Off => {}
            Events::On => self.events.push(Event {
                member_id: row.member_id.clone(),
                seq: row.seq,
                epoch: row.epoch,
                command_id: row.command_id,
                kind: row.code.map_or_else(|| EventKind::applied(action), |code| EventKind::refused(action, code)),
                delta: row.delta,
                balance: row.balance_after,
                lifetime,
                occurred_at: row.occurred_at,
                recorded_at: self.now,
            }),
        }
    }

    /// Tells of the rewards that the row told of last has earned.
    pub(crate) fn rewards(&mut self, rewards: &[RewardRow]) {
        for RewardRow { number, points, title, .. } in rewards {
            // None, if nothing is told. Each takes from the one before what it has in common with the row's.
            let Some(before) = self.events.last().cloned() else { return };
            let reward = Reward { number: *number, points: *points, title: title.clone() };
            self.events.push(Event { kind: EventKind::Granted(reward), delta: 0, ..before });
        }
    }

    pub(crate) fn into_events(self) -> Vec<Event> {
        self.events
    }
}
