//! What listeners are told of a batch: one event for each entry of the ledger, one for each reward. Pure.
//!
//! The events go into the transaction of the batch. Nothing is published from here.

use jiff::Timestamp;
use loyalty_common::event::{EventKind, Reward};
use loyalty_common::{EntryType, Event};

use crate::entry::{Entry, Grant};

/// Whether listeners are told what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Events {
    /// Nobody is told anything.
    #[default]
    Off,
    /// Each row of the ledger, each reward and each warning is an event.
    On,
}

/// The events of a batch, in the order in which they happened.
#[derive(Debug)]
pub(crate) struct EventBuilder {
    switch: Events,
    now: Timestamp,
    events: Vec<Event>,
}

impl EventBuilder {
    /// `now` is the time of the transaction, which the ledger's rows get too.
    pub(crate) const fn new(switch: Events, now: Timestamp) -> Self {
        Self { switch, now, events: Vec::new() }
    }

    /// Tells of an entry. `lifetime` is the member's after it.
    pub(crate) fn entry(&mut self, entry: &Entry, lifetime: i64) {
        match self.switch {
            Events::Off => {}
            Events::On => self.events.push(Event {
                member_id: entry.member_id.clone(),
                seq: entry.seq,
                epoch: entry.epoch,
                command_id: Some(entry.command_id),
                kind: kind(entry),
                delta: entry.effects.delta,
                held_delta: entry.effects.held_delta,
                debt_delta: entry.effects.debt_delta,
                balance: entry.balance_after,
                lifetime,
                occurred_at: entry.occurred_at,
                recorded_at: self.now,
            }),
        }
    }

    /// Tells of the rewards that the entry told of last has earned.
    pub(crate) fn grants(&mut self, entry_type: EntryType, grants: &[Grant]) {
        for Grant { number, points, title, .. } in grants {
            // None, if nothing is told. Each takes from the one before what it has in common with the entry's.
            let Some(before) = self.events.last().cloned() else { return };
            let reward = Reward { number: *number, points: *points, title: title.clone() };
            let kind = EventKind::Granted { entry_type, reward };
            self.events.push(Event { kind, delta: 0, held_delta: 0, debt_delta: 0, ..before });
        }
    }

    pub(crate) fn into_events(self) -> Vec<Event> {
        self.events
    }
}

const fn kind(entry: &Entry) -> EventKind {
    match entry.code {
        None => EventKind::Applied(entry.content.event_fields()),
        Some(code) => EventKind::Refused(entry.content.event_fields(), code),
    }
}
