//! What is written of a command: its entry in the ledger with its effects, the rewards that it earned, or that it
//! waits.

use jiff::Timestamp;
use jiff::civil::Date;
use loyalty_common::{CommandId, Event, MemberId, Outcome, RefusalCode, TraceContext};

use crate::command_content::{CommandContent, CommandKey};
use crate::effects::Effects;

/// A new row of the ledger. When it was recorded is the transaction's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose ledger it stands in.
    pub member_id: MemberId,
    /// Its place: one more than the member's last.
    pub seq: i64,
    /// The command that it is the receipt of; of what happened by itself, an id that no sender may use.
    pub command_id: CommandId,
    /// The membership that the member is in after it.
    pub epoch: i32,
    /// The programme that decided it: its place in the table of programmes. 0: not known, as of earlier releases.
    pub programme: i16,
    /// What the command asked, or what happened by itself.
    pub content: CommandContent,
    /// Why it was refused; none, if it was applied.
    pub code: Option<RefusalCode>,
    /// What it did to the member.
    pub effects: Effects,
    pub balance_after: i64,
    /// When it happened in the shop; of what happened by itself, when it was due.
    pub occurred_at: Timestamp,
    /// When it took effect for the member: that, or the member's time before it, if that is later.
    pub effective_at: Timestamp,
    /// Of a reversal: what the reversals of its target come to with it.
    pub reversed_after: Option<i64>,
}

impl Entry {
    /// Whether it was applied.
    pub const fn outcome(&self) -> Outcome {
        match self.code {
            None => Outcome::Applied,
            Some(_) => Outcome::Refused,
        }
    }

    /// Whether its effects are plain and what it says are points, as of most rows, which are written in fewer columns.
    pub fn is_plain(&self) -> bool {
        let CommandContent { target, expires_at, counts, number, .. } = &self.content;
        self.effects.is_plain()
            && self.reversed_after.is_none()
            && (target, expires_at, counts, number) == (&None, &None, &None, &None)
    }
}

/// A reward that a credit earned, with its email.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
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
    /// Whether its email has somewhere to go; if not there is none, and the email's row says so.
    pub has_address: bool,
    /// The trace of the command that earned it; its email goes on with it.
    pub trace: Option<TraceContext>,
}

/// A reward that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redemption {
    pub member_id: MemberId,
    pub epoch: i32,
    /// The reward's number in that membership.
    pub number: i64,
    /// The entry that used it.
    pub seq: i64,
}

/// A command that waits for its member's enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedCommand {
    pub key: CommandKey,
    /// As it came.
    pub body: Vec<u8>,
}

/// A member is to be told of the points of one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub member_id: MemberId,
    pub epoch: i32,
    /// The last day on which they can be spent.
    pub expires_on: Date,
    pub points: i64,
    /// Whether its email has somewhere to go.
    pub has_address: bool,
    /// What listeners are told, if events are switched on.
    pub event: Option<Event>,
}
