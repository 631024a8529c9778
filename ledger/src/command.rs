//! What a command reads and decides: a file each, and here the one list of them.
//!
//! A rule looks at the member's state, the programme and the command, and at nothing else. It may not look at a clock:
//! the one question that needs it, whether the command is ahead of its time, is asked here, before any rule.

mod earn;
mod enroll;
mod exit;
mod spend;
mod terminate;
#[cfg(test)]
mod tests;
mod update;

use std::ops::Range;

use jiff::Timestamp;
use loyalty_common::RefusalCode;
use loyalty_common::command::{Action, CLOCK_AHEAD_MAX, Command};

use crate::contact::ContactChange;
use crate::entry::Effects;
use crate::member::MemberState;
use crate::programme::Programme;
use crate::reads::Reads;

/// What a type of command reads and decides, for its payload.
trait Rule {
    /// What it must see besides the member's row.
    fn reads(&self) -> Reads {
        Reads::NONE
    }

    fn decide<'a>(&'a self, state: &MemberState, programme: &Programme) -> Decision<'a>;
}

/// The rule of a command: the one list of them.
const fn rule(action: &Action) -> &dyn Rule {
    match action {
        Action::Enroll(enroll) => enroll,
        Action::Update(update) => update,
        Action::Earn(earn) => earn,
        Action::Spend(spend) => spend,
        Action::Exit(exit) => exit,
        Action::Terminate(terminate) => terminate,
    }
}

/// What a command must see besides its member's row.
pub fn reads(command: &Command) -> Reads {
    rule(&command.action).reads()
}

/// Decides one command.
pub fn decide<'a>(state: &MemberState, command: &'a Command, now: Timestamp, programme: &Programme) -> Decision<'a> {
    // A time in the future is wrong whoever the member is; checked first, so that it is not parked for later. Not
    // refused: a till with a wrong clock would burn the ids of real purchases.
    if command.occurred_at.duration_since(now) > CLOCK_AHEAD_MAX {
        return Decision::ClockAhead;
    }
    rule(&command.action).decide(state, programme)
}

/// What becomes of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// The rule allows it.
    Applied(Applied<'a>),
    /// The rule forbids it, for good.
    Refused(RefusalCode),
    /// It waits for the member's enrolment.
    Parked,
    /// Its time has not come: it is not decided, and its id is not used up.
    ClockAhead,
}

/// What an applied command changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<'a> {
    /// The member's state after it.
    pub state: MemberState,
    /// What leads there, for its ledger entry.
    pub effects: Effects,
    /// The milestones it crossed, by number.
    pub milestones: Range<i64>,
    pub contact: ContactChange<'a>,
    /// Whether mails of the membership that are not sent yet go to nobody.
    pub ends_membership: bool,
}

impl<'a> Applied<'a> {
    /// From one state to another. Effects are never said by hand, so that they cannot differ from the states.
    pub(crate) fn new(before: &MemberState, state: MemberState) -> Self {
        Self {
            effects: Effects::between(before, &state),
            state,
            milestones: 0..0,
            contact: ContactChange::KEEP,
            ends_membership: false,
        }
    }

    pub(crate) fn crossing(self, milestones: Range<i64>) -> Self {
        Self { milestones, ..self }
    }

    pub(crate) fn with_contact(self, contact: ContactChange<'a>) -> Self {
        Self { contact, ..self }
    }

    /// Of a membership that it ends: who leaves is forgotten.
    pub(crate) fn ending_membership(self) -> Self {
        Self { ends_membership: true, contact: ContactChange::ERASE, ..self }
    }
}

impl<'a> From<Applied<'a>> for Decision<'a> {
    fn from(applied: Applied<'a>) -> Self {
        Self::Applied(applied)
    }
}
