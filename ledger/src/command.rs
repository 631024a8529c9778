//! What a command reads and decides: a file each, and here the one list of them.
//!
//! A rule looks at what the member has, the programme and the command with what it asked to see, and at nothing else.
//! Where the member stands is looked at once, before any rule; so is the clock.

mod adjust;
mod capture;
mod earn;
mod enroll;
mod exit;
mod hold;
mod redeem;
mod release;
mod reverse;
mod spend;
mod terminate;
#[cfg(test)]
mod tests;
mod update;

use std::ops::Range;

use jiff::Timestamp;
use loyalty_common::command::{Action, CLOCK_AHEAD_MAX, Command};
use loyalty_common::{CommandId, RefusalCode};

use crate::account::{Account, Part};
use crate::balance_sheet::Sheet;
use crate::contact::ContactChange;
use crate::effects::Effects;
use crate::member::{MemberState, MemberStatus};
use crate::programme::{Programme, SUM_MAX};
use crate::target::Target;

/// What a type of command reads and decides, for its payload.
trait Rule {
    /// What it must see besides what the member has.
    fn reads(&self) -> Reads {
        Reads::NONE
    }

    /// What becomes of it for somebody who stands there, if that settles it. Almost all are for members.
    fn gate(&self, status: MemberStatus, parks: bool) -> Option<Decision<'static>> {
        match status {
            MemberStatus::Active => None,
            MemberStatus::Unenrolled if parks => Some(Decision::Parked),
            MemberStatus::Unenrolled => Some(Decision::Refused(RefusalCode::NotAMember)),
            MemberStatus::Exited => Some(Decision::Refused(RefusalCode::Exited)),
            MemberStatus::Terminated => Some(Decision::Refused(RefusalCode::Terminated)),
        }
    }

    /// What becomes of it for somebody whom the gate lets through.
    fn decide<'a>(&'a self, before: &Account, context: &Context<'_>) -> Decision<'a>;
}

/// What one command must see besides its member's row. All of it is read in the flights that a batch makes anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// The bodies of what waits for the member's enrolment.
    pub parked: bool,
    /// The row of an earlier command of the member.
    pub target: Option<CommandId>,
    /// Whether a reward of the member's membership was used, by its number.
    pub reward: Option<i64>,
}

impl Reads {
    /// The member's row is enough.
    pub const NONE: Self = Self { parked: false, target: None, reward: None };
}

/// What a rule looks at besides what the member has and what the command says.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub programme: &'a Programme,
    /// When the command takes effect for the member.
    pub effective_at: Timestamp,
    pub command_id: CommandId,
    /// The place in the ledger that it gets if it is decided.
    pub seq: i64,
    /// The row that it is about, if it asked for one and that is there.
    pub target: Option<&'a Target>,
    /// Whether the reward that it is about, if it asked for one, was used before.
    pub is_redeemed: bool,
}

/// The rule of a command: the one list of them.
const fn rule(action: &Action) -> &dyn Rule {
    match action {
        Action::Enroll(enroll) => enroll,
        Action::Update(update) => update,
        Action::Earn(earn) => earn,
        Action::Spend(spend) => spend,
        Action::Adjust(adjust) => adjust,
        Action::Reverse(reverse) => reverse,
        Action::Hold(hold) => hold,
        Action::Capture(capture) => capture,
        Action::Release(release) => release,
        Action::Redeem(redeem) => redeem,
        Action::Exit(exit) => exit,
        Action::Terminate(terminate) => terminate,
    }
}

/// What a command must see besides its member's row.
pub fn reads(action: &Action) -> Reads {
    rule(action).reads()
}

/// Whether its time has not come. Asked before anything else, whoever the member is, so that it is not parked for
/// later; and not refused: a till with a wrong clock would burn the ids of real purchases.
pub fn is_ahead(command: &Command, now: Timestamp) -> bool {
    command.occurred_at.duration_since(now) > CLOCK_AHEAD_MAX
}

/// Decides one command, for a member for whom nothing is due any more before it.
pub fn decide<'a>(before: &Account, action: &'a Action, context: &Context<'_>) -> Decision<'a> {
    let rule = rule(action);
    if let Some(decision) = rule.gate(before.state.status, action.command_type().parks()) {
        return decision;
    }
    match rule.decide(before, context) {
        Decision::Applied(applied) if !applied.account.state.is_within_bounds() => {
            Decision::Refused(RefusalCode::BalanceLimit)
        }
        Decision::Applied(mut applied) => {
            // Of somebody whom no membership covers, before or after, time stands still.
            if [before.state.status, applied.account.state.status].contains(&MemberStatus::Active) {
                applied.account.state.as_of = Some(context.effective_at);
            }
            Decision::Applied(applied)
        }
        refused @ (Decision::Refused(_) | Decision::Parked) => refused,
    }
}

impl MemberState {
    /// Whether each sum is one that the ledger can hold. None can wrap before it is asked: a command adds at most
    /// 10^12.
    const fn is_within_bounds(&self) -> bool {
        self.balance + self.held <= SUM_MAX && self.lifetime <= SUM_MAX && self.debt <= SUM_MAX
    }

    /// The member's time goes on with a command that was refused.
    pub(crate) fn refused_at(&mut self, effective_at: Timestamp) {
        if self.status == MemberStatus::Active {
            self.as_of = Some(effective_at);
        }
    }
}

/// What becomes of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "almost all are applied: a box would cost each an allocation")]
pub enum Decision<'a> {
    /// The rule allows it.
    Applied(Applied<'a>),
    /// The rule forbids it, for good.
    Refused(RefusalCode),
    /// It waits for the member's enrolment.
    Parked,
}

/// What an applied command changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<'a> {
    /// What the member has after it.
    pub account: Account,
    /// What leads there, for its ledger entry.
    pub effects: Effects,
    /// The milestones it crossed, by number.
    pub milestones: Range<i64>,
    /// The reward that it used.
    pub redeemed: Option<i64>,
    /// Of a reversal: what the reversals of its target come to with it.
    pub reversed_after: Option<i64>,
    pub contact: ContactChange<'a>,
    /// Whether emails of the membership that are not sent yet go to nobody.
    pub ends_membership: bool,
}

impl<'a> Applied<'a> {
    /// From what the member has to what they have after it. The numbers are never said by hand, so that they cannot
    /// differ from the two; where points came from and went, only the rule knows.
    pub(crate) fn new(before: &Account, account: Account, sheet: Sheet) -> Self {
        Self {
            effects: Effects::between(before, &account, sheet),
            account,
            milestones: 0..0,
            redeemed: None,
            reversed_after: None,
            contact: ContactChange::KEEP,
            ends_membership: false,
        }
    }

    pub(crate) fn crossing(self, milestones: Range<i64>) -> Self {
        Self { milestones, ..self }
    }

    pub(crate) fn redeeming(self, number: i64) -> Self {
        Self { redeemed: Some(number), ..self }
    }

    pub(crate) fn reversing(self, reversed_after: i64) -> Self {
        Self { reversed_after: Some(reversed_after), ..self }
    }

    /// Of a capture, which keeps these points of its hold.
    pub(crate) fn keeping(mut self, kept: &[Part]) -> Self {
        self.effects.keep(kept);
        self
    }

    pub(crate) fn with_contact(self, contact: ContactChange<'a>) -> Self {
        Self { contact, ..self }
    }

    /// The membership ends: who leaves is forgotten.
    pub(crate) fn ending(before: &Account, status: MemberStatus) -> Self {
        let mut after = before.clone();
        let sheet = after.end(status);
        Self { ends_membership: true, contact: ContactChange::ERASE, ..Self::new(before, after, sheet) }
    }
}

impl<'a> From<Applied<'a>> for Decision<'a> {
    fn from(applied: Applied<'a>) -> Self {
        Self::Applied(applied)
    }
}
