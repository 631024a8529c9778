//! `redeem`: a reward is used.

use crate::command::payload::{Rules, payload};
use crate::values::RewardNumber;

payload! {
    /// Use a reward of this membership; each can be used once.
    pub struct Redeem {
        /// Its number in the membership.
        pub number: RewardNumber,
    }
}

impl Rules for Redeem {
    const EVENT: (&'static str, &'static str) = ("reward.redeemed", "A reward was used.");

    const PARKS: bool = true;

    fn number(&self) -> Option<i64> {
        Some(self.number.get())
    }
}
