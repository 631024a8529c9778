//! `hold`: points are set aside for a while.

use jiff::{SignedDuration, Timestamp};

use crate::command::DecodeError;
use crate::command::payload::{Rules, payload};
use crate::rfc3339::Moment;
use crate::values::Points;

/// The longest time for which points are held. Part of the contract: what is held cannot be spent, and a till that
/// forgets must not keep it.
pub const HOLD_MAX: SignedDuration = SignedDuration::from_hours(31 * 24);

payload! {
    /// Set points aside, if there are enough, until they are captured or released.
    pub struct Hold {
        /// How many.
        pub points: Points,
        /// When they come back by themselves: after `occurred_at`, by at most 31 days.
        pub expires_at: Moment,
    }
}

impl Rules for Hold {
    const EVENT: (&'static str, &'static str) = ("points.held", "Points were set aside.");

    const PARKS: bool = true;

    fn points(&self) -> Option<i64> {
        Some(self.points.get())
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires_at.get())
    }

    fn check_at(&self, occurred_at: Timestamp) -> Result<(), DecodeError> {
        let held_for = self.expires_at.get().duration_since(occurred_at);
        if held_for.is_positive() && held_for <= HOLD_MAX {
            Ok(())
        } else {
            Err(DecodeError::field_error("expires_at", "must be after `occurred_at`, by at most 31 days"))
        }
    }
}
