//! A batch of commands in, the changes of one transaction out. Pure: it takes the commands through the rules in the
//! order of their delivery, on top of what the database showed under its locks.
//!
//! Every command ends here in exactly one [`CommandOutcome`]. No type of command is named here: what one does, its
//! decision says. What is due happens before each command, as far as its effective time.

#[cfg(test)]
mod beyond_examples;
#[cfg(test)]
mod example;
mod journal;
#[cfg(test)]
mod many_holds;
mod member;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod worked_examples;

use std::collections::BTreeMap;

use jiff::Timestamp;
use loyalty_common::{Command, MemberId, RefusalCode, TraceContext};

use crate::batch::{Changes, View};
use crate::event_builder::Events;
use crate::programme::Programme;
use journal::Journal;
use member::FoldedMember;

/// A command, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Submitted<'a> {
    pub command: &'a Command,
    /// The bytes that it was read from, which are kept if it must wait.
    pub body: &'a [u8],
    /// The trace that it is part of, for what follows from it.
    pub trace: Option<&'a TraceContext>,
}

/// What becomes of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// The rule allowed it.
    Applied,
    /// The rule forbade it, for good.
    Refused(RefusalCode),
    /// It was decided before, or waits already; nothing changes.
    Duplicate,
    /// It waits for its member's enrolment.
    Parked,
    /// Its id was used before for something else.
    Conflict {
        /// The contract's names of the fields that differ.
        differing: Vec<&'static str>,
    },
    /// Its time has not come. A replay, or the same command again, applies it then.
    ClockAhead {
        occurred_at: Timestamp,
        /// By the database's clock.
        now: Timestamp,
    },
    /// More commands than are kept wait for its member's enrolment.
    ParkedTooMany,
}

/// What becomes of a command, and what it makes of the balance, with what it releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: CommandOutcome,
    pub balance_after: i64,
}

/// Folds a batch. The verdicts are in the order of the commands.
pub fn fold(view: View, batch: &[Submitted<'_>], programme: &Programme, events: Events) -> (Changes, Vec<Verdict>) {
    let mut fold = Fold::new(view, programme, events);
    let verdicts = batch.iter().map(|submitted| fold.submit(submitted)).collect();
    (fold.finish(), verdicts)
}

/// Has everything happen that is due up to a time, to the members of a view that asks for nothing but them.
pub fn sweep(view: View, until: Timestamp, programme: &Programme, events: Events) -> Changes {
    let mut fold = Fold::new(view, programme, events);
    for member in fold.members.values_mut() {
        fold.journal.happen(member, until);
    }
    fold.finish()
}

struct Fold<'a> {
    /// In the order of their ids, so that the same batch always writes in the same order.
    members: BTreeMap<MemberId, FoldedMember>,
    journal: Journal<'a>,
}

impl<'a> Fold<'a> {
    fn new(mut view: View, programme: &'a Programme, events: Events) -> Self {
        let members = std::mem::take(&mut view.members).into_iter().map(|(id, row)| {
            let (lots, holds) = (view.lots.remove(&id), view.holds.remove(&id));
            let waiting = view.parked.remove(&id).unwrap_or_default();
            let member = FoldedMember::new(row, lots.unwrap_or_default(), holds.unwrap_or_default(), waiting);
            (id, member)
        });
        Self { members: members.collect(), journal: Journal::new(view, programme, events) }
    }

    fn submit(&mut self, submitted: &Submitted<'_>) -> Verdict {
        let member_id = &submitted.command.member_id;
        // The view has every member of the batch; a fresh row keeps a hole in it from being a panic.
        let member = self.members.entry(member_id.clone()).or_insert_with(|| FoldedMember::unknown(member_id.clone()));
        let outcome = self.journal.submit(member, submitted);
        Verdict { outcome, balance_after: member.account.state.balance }
    }

    fn finish(self) -> Changes {
        let mut changes = self.journal.into_changes();
        for member in self.members.into_values() {
            member.write_to(&mut changes);
        }
        changes
    }
}
