//! What is written of a command: its entry in the ledger with its effects, the rewards that it earned, or that it
//! waits.

use jiff::Timestamp;
use loyalty_common::{CommandId, MemberId, Outcome, RefusalCode, TraceContext};

use crate::command_content::{CommandContent, CommandKey};
use crate::member::{MemberState, MemberStatus};

/// A new row of the ledger. When it was recorded is the transaction's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose ledger it stands in.
    pub member_id: MemberId,
    /// Its place: one more than the member's last.
    pub seq: i64,
    /// The command that it is the receipt of.
    pub command_id: CommandId,
    /// The membership that the member is in after it.
    pub epoch: i32,
    /// What the command asked.
    pub content: CommandContent,
    /// Why it was refused; none, if it was applied.
    pub code: Option<RefusalCode>,
    /// What it did to the member.
    pub effects: Effects,
    /// The balance after it.
    pub balance_after: i64,
    /// When it happened in the shop.
    pub occurred_at: Timestamp,
}

impl Entry {
    /// Whether it was applied.
    pub const fn outcome(&self) -> Outcome {
        match self.code {
            None => Outcome::Applied,
            Some(_) => Outcome::Refused,
        }
    }
}

/// What a command did to its member, number by number. Whoever sums these needs no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effects {
    /// What it changed the balance by.
    pub delta: i64,
    /// What it changed the lifetime sum of the entry's membership by.
    pub lifetime_delta: i64,
    /// The member's status, if it changed that.
    pub status_after: Option<MemberStatus>,
}

impl Effects {
    /// Those of a refusal.
    pub const NONE: Self = Self { delta: 0, lifetime_delta: 0, status_after: None };

    /// What leads from one state to the other. The lifetime sum of a new membership begins at nothing.
    pub fn between(before: &MemberState, after: &MemberState) -> Self {
        let lifetime_before = if before.epoch == after.epoch { before.lifetime } else { 0 };
        Self {
            delta: after.balance - before.balance,
            lifetime_delta: after.lifetime - lifetime_before,
            status_after: (before.status != after.status).then_some(after.status),
        }
    }
}

/// A reward that a credit earned, with its mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who earned it.
    pub member_id: MemberId,
    /// In which membership.
    pub epoch: i32,
    /// Its number in that membership: 1, 2, 3, ...
    pub number: i64,
    /// The entry that earned it.
    pub seq: i64,
    /// The lifetime sum that was crossed.
    pub points: i64,
    /// What the member gets.
    pub title: String,
    /// Whether its mail has somewhere to go; if not there is none, and the mail's row says so.
    pub has_address: bool,
    /// The trace of the command that earned it; its mail goes on with it.
    pub trace: Option<TraceContext>,
}

/// A command that waits for its member's enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedCommand {
    /// Which command.
    pub key: CommandKey,
    /// As it came.
    pub body: Vec<u8>,
}
