//! What is said, and what is written down of it.

use jiff::Timestamp;

use super::programme::Programme;
use super::purse::{Expires, Purse, sum};

/// A command. Two of one id are the same if `what` is (3).
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) command_id: u128,
    pub(crate) member: String,
    pub(crate) occurred_at: Timestamp,
    pub(crate) what: What,
}

/// Without what decides nothing here: addresses, names, reasons, sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Enroll,
    Update,
    Earn { points: i64 },
    Spend { points: i64 },
    Adjust { points: i64, counts: bool },
    Reverse { target: u128, points: Option<i64> },
    Hold { points: i64, expires_at: Timestamp },
    Capture { target: u128, points: Option<i64> },
    Release { target: u128 },
    Redeem { number: i64 },
    Exit,
    Terminate,
}

impl What {
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Update => "update",
            Self::Earn { .. } => "earn",
            Self::Spend { .. } => "spend",
            Self::Adjust { .. } => "adjust",
            Self::Reverse { .. } => "reverse",
            Self::Hold { .. } => "hold",
            Self::Capture { .. } => "capture",
            Self::Release { .. } => "release",
            Self::Redeem { .. } => "redeem",
            Self::Exit => "exit",
            Self::Terminate => "terminate",
        }
    }

    /// Whether it waits for the enrolment of somebody who never was a member (3).
    pub(crate) fn parks(self) -> bool {
        !matches!(self, Self::Enroll | Self::Update | Self::Exit | Self::Terminate)
    }
}

/// Why a command is refused, as on the wire.
pub(crate) type Code = &'static str;

/// What becomes of a command when it is said. One that is parked is decided later: its row tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Applied,
    Refused(Code),
    Duplicate,
    Conflict,
    Parked,
    ParkedTooMany,
    ClockAhead,
}

/// A row of a member's ledger.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) seq: u64,
    /// `None`: a row that no command asked for.
    pub(crate) command_id: Option<u128>,
    /// A command's type; `expire` for a lot, `lapse` for a hold that has run out.
    pub(crate) type_name: &'static str,
    /// `None`: applied.
    pub(crate) refused: Option<Code>,
    pub(crate) effective_at: Timestamp,
    /// The membership to which the row belongs; one that begins with it counts.
    pub(crate) epoch: u64,
    pub(crate) effects: Effects,
    pub(crate) balance_after: i64,
    /// All lots after it, the soonest first: when they expire, and what is left. Without what never expires.
    pub(crate) lots: Vec<(Timestamp, i64)>,
    pub(crate) what: Option<What>,
    /// What the programme said when it was written; an enrolment keeps it for the membership.
    pub(crate) milestone: i64,
    /// Whether the member's time went on to `effective_at`: who was active before it or after it (1).
    pub(crate) moves_time: bool,
}

/// What a row changes. All of it is zero and empty for a refusal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    /// Points that came to be spendable.
    pub(crate) put: Purse,
    /// Points that ceased to be spendable.
    pub(crate) took: Purse,
    pub(crate) held_delta: i64,
    pub(crate) debt_delta: i64,
    pub(crate) lifetime_delta: i64,
    // The terms of the balance sheet (11).
    pub(crate) issued: i64,
    pub(crate) reversed: i64,
    pub(crate) spent: i64,
    pub(crate) expired: i64,
    pub(crate) forfeited: i64,
    pub(crate) written_off: i64,
    /// The lot that `expired` is about.
    pub(crate) expired_lot: Option<Expires>,
    /// The `seq` of the hold that ends with it.
    pub(crate) closes: Option<u64>,
}

impl Effects {
    pub(crate) fn delta(&self) -> i64 {
        sum(&self.put) - sum(&self.took)
    }
}

impl Row {
    /// The command's row, without what only the rows before it can tell.
    pub(crate) fn of_command(
        said: &Said,
        programme: &Programme,
        effective: Timestamp,
        decision: Result<Effects, Code>,
    ) -> Self {
        Self {
            command_id: Some(said.command_id),
            refused: decision.as_ref().err().copied(),
            what: Some(said.what),
            milestone: programme.milestone,
            ..Self::of_system(said.what.type_name(), effective, decision.unwrap_or_default())
        }
    }

    pub(crate) fn of_system(type_name: &'static str, effective: Timestamp, effects: Effects) -> Self {
        Self {
            seq: 0,
            command_id: None,
            type_name,
            refused: None,
            effective_at: effective,
            epoch: 0,
            effects,
            balance_after: 0,
            lots: Vec::new(),
            what: None,
            milestone: 0,
            moves_time: true,
        }
    }

    pub(crate) fn is_applied(&self, type_name: &str) -> bool {
        self.refused.is_none() && self.type_name == type_name
    }
}
