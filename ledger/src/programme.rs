//! What the shop decides, and the bounds that no shop can move.

use jiff::Timestamp;
use loyalty_common::{Points, string_enum};
use serde::{Deserialize, Serialize};

use crate::expiry::{Expiry, LotDay, Zone};

/// What the shop decides. As JSON it is canonical: the same programme is always the same text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Programme {
    /// Its place in the table of all programmes that a worker ever started with; 0 until it has one. Rows of the ledger
    /// name it.
    #[serde(skip)]
    pub number: i16,
    /// Lifetime points for each reward; none: no rewards. A member keeps the one of their enrolment.
    pub milestone: Option<Points>,
    /// What a reward is: "free coffee".
    pub reward: String,
    /// When points expire; none: they never do.
    pub expiry: Option<Expiry>,
    pub reversal: Reversal,
}

/// What becomes of points when something is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reversal {
    pub when_short: WhenShort,
    /// For how many days points can be spent that come back after their day has passed. 0: not at all.
    pub grace_days: u16,
}

string_enum! {
    /// What becomes of the reversal of a credit that is spent already.
    pub enum WhenShort {
        /// What is missing is owed; later credits pay it.
        Debt = "debt",
        /// The reversal is refused.
        Refuse = "refuse",
    }
}

impl Default for Programme {
    fn default() -> Self {
        Self {
            number: 0,
            milestone: Points::try_new(1_000).ok(),
            reward: "free coffee".to_owned(),
            expiry: None,
            reversal: Reversal::default(),
        }
    }
}

impl Default for Reversal {
    fn default() -> Self {
        Self { when_short: WhenShort::Debt, grace_days: 30 }
    }
}

impl Programme {
    /// The day of points that are credited at this time; none, if they never expire.
    pub fn lot_day(&self, effective: Timestamp) -> Option<LotDay> {
        self.expiry.as_ref().map(|expiry| expiry.lot_day(effective))
    }

    /// The day of points that come back at this time after their own day has passed; none, if they expire at once.
    pub fn grace_day(&self, effective: Timestamp) -> Option<LotDay> {
        let days = self.reversal.grace_days;
        (days > 0).then(|| self.zone().day_after(effective, days))
    }

    /// Where days begin and end. Without expiry it is asked for days that an earlier programme has given only.
    pub fn zone(&self) -> &Zone {
        static UTC: Zone = Zone::UTC;
        self.expiry.as_ref().map_or(&UTC, |expiry| &expiry.zone)
    }
}

/// The highest sum of points. Far above any shop's, and one more command still fits an `i64`.
pub const SUM_MAX: i64 = 4_000_000_000_000_000_000;

/// The most rewards of one command. A credit that crosses more is a mistake in somebody's unit, and would hold up a
/// transaction and fill a mailbox.
pub const REWARDS_PER_COMMAND_MAX: i64 = 1_000;

/// How many commands may wait for one member's enrolment, which applies them all in its own transaction.
pub const PARKED_PER_MEMBER_MAX: usize = 100;
