//! What there is to know of one member, in words of neither: what both must agree on.

use jiff::Timestamp;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Book {
    pub(super) lines: Vec<Line>,
    pub(super) standing: Standing,
    /// Of all memberships: which one, and the reward's number.
    pub(super) rewards: Vec<(i64, i64)>,
    pub(super) redeemed: Vec<(i64, i64)>,
    /// What waits for the enrolment, in the order of arrival.
    pub(super) parked: Vec<u128>,
}

/// A row of the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) seq: i64,
    /// `None`: a row that no command asked for.
    pub(super) command_id: Option<u128>,
    pub(super) type_name: &'static str,
    pub(super) refused: Option<&'static str>,
    pub(super) effective_at: Timestamp,
    pub(super) epoch: i64,
    pub(super) balance_after: i64,
    pub(super) delta: i64,
    pub(super) held_delta: i64,
    pub(super) debt_delta: i64,
    pub(super) lifetime_delta: i64,
    pub(super) issued: i64,
    pub(super) reversed: i64,
    pub(super) spent: i64,
    pub(super) expired: i64,
    pub(super) forfeited: i64,
    pub(super) written_off: i64,
    pub(super) reversed_after: Option<i64>,
    pub(super) lots: Vec<LotLine>,
}

/// What a row changed one lot by.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LotLine {
    pub(super) expires_at: Timestamp,
    pub(super) delta: i64,
    pub(super) expired: i64,
    /// What a capture kept of it.
    pub(super) kept: i64,
}

/// What a member has, and where they stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) status: &'static str,
    pub(super) epoch: i64,
    /// 0: no rewards.
    pub(super) milestone: i64,
    pub(super) points: i64,
    pub(super) held: i64,
    pub(super) debt: i64,
    pub(super) lifetime: i64,
    pub(super) peak: i64,
    pub(super) as_of: Option<Timestamp>,
    /// When the next of what follows is due.
    pub(super) due_at: Option<Timestamp>,
    /// What is left of each lot, and what has expired of it; none where both are 0.
    pub(super) lots: Vec<(Timestamp, i64, i64)>,
    /// In the order in which they run out.
    pub(super) holds: Vec<HoldLine>,
}

/// An open hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HoldLine {
    pub(super) command_id: u128,
    pub(super) points: i64,
    pub(super) expires_at: Timestamp,
    /// What it took of lots.
    pub(super) lots: Vec<(Timestamp, i64)>,
}
