//! A member while a batch is folded: what they have become, what waits for them, and how much of it is new.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jiff::Timestamp;
use loyalty_common::{Command, CommandId, MemberId, TraceContext};

use crate::account::{Account, Hold, Lot};
use crate::batch::{Changes, HoldRow, LotRow, WaitingCommand};
use crate::contact::{Contact, ContactChange, ContactSeed};
use crate::due::Due;
use crate::effects::Effects;
use crate::entry::{Grant, ParkedCommand};
use crate::member::{Member, MemberState};
use crate::programme::Programme;

pub(super) struct FoldedMember {
    pub(super) member_id: MemberId,
    pub(super) account: Account,
    pub(super) last_seq: i64,
    pub(super) contact: Contact,
    pub(super) waiting: Vec<Waiting>,
    enrolled_at: Option<Timestamp>,
    before: Before,
    contact_is_new: bool,
    /// Lots that have changed, as they are now, by their membership and day.
    changed_lots: BTreeMap<(i32, Timestamp), Lot>,
}

/// What tells how much of a member is new.
struct Before {
    state: MemberState,
    last_seq: i64,
    /// By the commands that hold them.
    holds: BTreeSet<CommandId>,
}

/// A command that waits for the member's enrolment.
pub(super) struct Waiting {
    pub(super) command: WaitingCommand,
    /// Whether a row of it stands in the database, or this batch brought it.
    pub(super) stored: bool,
}

impl Waiting {
    const fn stored(command: WaitingCommand) -> Self {
        Self { command, stored: true }
    }

    pub(super) fn new(command: &Command, body: &[u8]) -> Self {
        let key = (command.member_id.clone(), command.command_id);
        Self { command: WaitingCommand { key, body: Some(body.to_vec()) }, stored: false }
    }
}

impl FoldedMember {
    pub(super) fn new(row: Member, lots: Vec<Lot>, holds: Vec<Hold>, waiting: Vec<WaitingCommand>) -> Self {
        let Member { member_id, state, last_seq, contact, enrolled_at, due_at: _ } = row;
        Self {
            member_id,
            before: Before { state, last_seq, holds: ids(&holds) },
            account: Account { state, lots, holds: holds.into() },
            last_seq,
            contact,
            waiting: waiting.into_iter().map(Waiting::stored).collect(),
            enrolled_at,
            contact_is_new: false,
            changed_lots: BTreeMap::new(),
        }
    }

    /// Somebody of whom nothing is known.
    pub(super) fn unknown(member_id: MemberId) -> Self {
        Self::new(Member::unenrolled(member_id), Vec::new(), Vec::new(), Vec::new())
    }

    /// Has from now on what a row of the ledger comes to.
    pub(super) fn take_on(&mut self, account: Account, effects: &Effects, now: Timestamp) {
        if self.account.state.epoch != account.state.epoch {
            self.enrolled_at = Some(now);
        }
        self.account = account;
        self.note_lots(effects);
    }

    /// Has happen what is due next.
    pub(super) fn happen(&mut self, due: &Due, programme: &Programme) -> Effects {
        let effects = self.account.happen(due, programme);
        self.note_lots(&effects);
        effects
    }

    fn note_lots(&mut self, effects: &Effects) {
        let epoch = self.account.state.epoch;
        for change in &effects.lots {
            let lot = self.account.lots.iter().find(|lot| lot.expires_at == change.expires_at);
            self.changed_lots.extend(lot.map(|lot| ((epoch, lot.expires_at), lot.clone())));
        }
    }

    /// Changes address and name; a new key is that of the row which does it.
    pub(super) fn change_contact(&mut self, change: &ContactChange<'_>, seed: &ContactSeed) {
        if !change.is_keep() {
            let (member_id, seq) = (&self.member_id, self.last_seq + 1);
            self.contact.change(change, || seed.key(member_id, seq));
            self.contact_is_new = true;
        }
    }

    /// The rewards of these milestones.
    pub(super) fn grants(
        &self,
        seq: i64,
        milestones: Range<i64>,
        title: &str,
        trace: Option<&TraceContext>,
    ) -> impl Iterator<Item = Grant> {
        let points_each = self.account.state.milestone.unwrap_or(0);
        milestones.map(move |number| Grant {
            member_id: self.member_id.clone(),
            epoch: self.account.state.epoch,
            number,
            seq,
            points: number * points_each,
            title: title.to_owned(),
            has_address: self.contact.email.is_there(),
            trace: trace.cloned(),
        })
    }

    /// Adds what is new of the member to the changes.
    pub(super) fn write_to(mut self, changes: &mut Changes) {
        self.write_parked(changes);
        self.write_lots_and_holds(changes);
        let due_at = self.account.due_at();
        let Self { member_id, account: Account { state, .. }, last_seq, contact, enrolled_at, before, .. } = self;
        let row = Member { member_id, state, last_seq, contact, enrolled_at, due_at };
        if last_seq == before.last_seq {
            return;
        }
        if !self.contact_is_new && only_points_differ(&before.state, &state) {
            changes.moved.push(row);
        } else {
            changes.members.push(row);
        }
    }

    fn write_parked(&mut self, changes: &mut Changes) {
        let new = self.waiting.drain(..).filter(|waiting| !waiting.stored);
        let with_body = |waiting: Waiting| {
            let WaitingCommand { key, body } = waiting.command;
            Some(ParkedCommand { key, body: body? })
        };
        changes.parked.extend(new.filter_map(with_body));
    }

    /// Holds that a batch opens and closes leave nothing but their rows.
    fn write_lots_and_holds(&mut self, changes: &mut Changes) {
        let lots = std::mem::take(&mut self.changed_lots).into_iter();
        changes.lots.extend(lots.map(|((epoch, _), lot)| LotRow { member_id: self.member_id.clone(), epoch, lot }));
        let (before, after) = (&self.before.holds, ids(&self.account.holds));
        let opened = self.account.holds.iter().filter(|hold| !before.contains(&hold.command_id));
        changes.holds_opened.extend(opened.map(|hold| HoldRow {
            member_id: self.member_id.clone(),
            epoch: self.account.state.epoch,
            hold: hold.clone(),
        }));
        let closed = before.difference(&after);
        changes.holds_closed.extend(closed.map(|command_id| (self.member_id.clone(), *command_id)));
    }
}

fn ids<'a>(holds: impl IntoIterator<Item = &'a Hold>) -> BTreeSet<CommandId> {
    holds.into_iter().map(|hold| hold.command_id).collect()
}

/// Whether nothing but what most commands change is new, which is the less to write.
fn only_points_differ(before: &MemberState, after: &MemberState) -> bool {
    let MemberState { status, epoch, milestone, balance: _, held, debt, lifetime: _, peak: _, as_of: _ } = *after;
    (before.status, before.epoch, before.milestone, before.held, before.debt) == (status, epoch, milestone, held, debt)
        && before.lowered_peak() == after.lowered_peak()
}
