//! A member while a batch is folded: the row as it has become, what waits for them, and how much of the row is new.

use std::ops::Range;

use jiff::Timestamp;
use loyalty_common::{Command, TraceContext};

use crate::batch::{Changes, WaitingCommand};
use crate::command::Applied;
use crate::contact::ContactSeed;
use crate::entry::{Grant, ParkedCommand};
use crate::member::{Member, MemberState};

pub(super) struct FoldedMember {
    pub(super) row: Member,
    pub(super) waiting: Vec<Waiting>,
    changed: Changed,
}

/// How much of a member's row a batch changes. Most only move points, which is the less to write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Changed {
    Nothing,
    Points,
    Everything,
}

/// A command that waits for the member's enrolment.
pub(super) struct Waiting {
    pub(super) command: WaitingCommand,
    /// Whether a row of it stands in the database, or this batch brought it.
    pub(super) stored: bool,
}

impl Waiting {
    pub(super) const fn stored(command: WaitingCommand) -> Self {
        Self { command, stored: true }
    }

    pub(super) fn new(command: &Command, body: &[u8]) -> Self {
        let key = (command.member_id.clone(), command.command_id);
        Self { command: WaitingCommand { key, body: Some(body.to_vec()) }, stored: false }
    }
}

impl FoldedMember {
    pub(super) const fn new(row: Member) -> Self {
        Self { row, waiting: Vec::new(), changed: Changed::Nothing }
    }

    /// Becomes what a decision says.
    pub(super) fn take_on(&mut self, applied: &Applied<'_>, now: Timestamp, seed: &ContactSeed) {
        let before = std::mem::replace(&mut self.row.state, applied.state);
        if before.epoch != applied.state.epoch {
            self.row.enrolled_at = Some(now);
        }
        if !applied.contact.is_keep() {
            let (member_id, seq) = (&self.row.member_id, self.row.last_seq + 1);
            self.row.contact.change(&applied.contact, || seed.key(member_id, seq));
        }
        if !(applied.contact.is_keep() && only_points_differ(&before, &applied.state)) {
            self.changed = Changed::Everything;
        }
    }

    /// The row, for one more entry in the ledger, whose seq is now the last.
    pub(super) fn next_entry(&mut self) -> &Member {
        self.changed = self.changed.max(Changed::Points);
        self.row.last_seq += 1;
        &self.row
    }

    /// The rewards of these milestones.
    pub(super) fn grants(
        &self,
        seq: i64,
        milestones: Range<i64>,
        title: &str,
        trace: Option<&TraceContext>,
    ) -> impl Iterator<Item = Grant> {
        let points_each = self.row.state.milestone.unwrap_or(0);
        milestones.map(move |number| Grant {
            member_id: self.row.member_id.clone(),
            epoch: self.row.state.epoch,
            number,
            seq,
            points: number * points_each,
            title: title.to_owned(),
            has_address: self.row.contact.email.is_there(),
            trace: trace.cloned(),
        })
    }

    /// Adds what is new of the member to the changes.
    pub(super) fn write_to(self, changes: &mut Changes) {
        let new = self.waiting.into_iter().filter(|waiting| !waiting.stored);
        let with_body = |waiting: Waiting| {
            let WaitingCommand { key, body } = waiting.command;
            Some(ParkedCommand { key, body: body? })
        };
        changes.parked.extend(new.filter_map(with_body));
        match self.changed {
            Changed::Nothing => {}
            Changed::Points => changes.moved.push(self.row),
            Changed::Everything => changes.members.push(self.row),
        }
    }
}

fn only_points_differ(before: &MemberState, after: &MemberState) -> bool {
    let MemberState { status, epoch, milestone, balance: _, lifetime: _ } = *after;
    (before.status, before.epoch, before.milestone) == (status, epoch, milestone)
}
