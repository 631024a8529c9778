//! What the shop decides, and the bounds that no shop can move.

use loyalty_common::Points;

/// What the shop decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programme {
    /// Lifetime points for each reward; none: no rewards. A member keeps the one of their enrolment.
    pub milestone: Option<Points>,
    /// What a reward is: "free coffee".
    pub reward: String,
}

impl Default for Programme {
    fn default() -> Self {
        Self { milestone: Points::try_new(1_000).ok(), reward: "free coffee".to_owned() }
    }
}

/// The highest sum of points. Far above any shop's, and one more command still fits an `i64`.
pub const SUM_MAX: i64 = 4_000_000_000_000_000_000;

/// The most rewards of one command. A credit that crosses more is a mistake in somebody's unit, and would hold up a
/// transaction and fill a mailbox.
pub const REWARDS_PER_COMMAND_MAX: i64 = 1_000;

/// How many commands may wait for one member's enrolment, which applies them all in its own transaction.
pub const PARKED_PER_MEMBER_MAX: usize = 100;
