//! `adjust`: a credit or a debit by hand, such as an opening balance.

use crate::command::DecodeError;
use crate::command::EnvelopeField;
use crate::command::payload::{Rules, payload};
use crate::scope::Scope;
use crate::values::SignedPoints;

payload! {
    /// Add or take points by hand: an operator's command, which says why in `reason`.
    ///
    /// Points are taken all or nothing.
    pub struct Adjust {
        /// How many; negative to take them.
        points: SignedPoints,
        /// Whether points that are added count as earned, towards rewards; they do not unless it is true.
        counts: Option<bool>,
    }
}

impl Rules for Adjust {
    const EVENT: (&'static str, &'static str) = ("points.adjusted", "Points were added or taken by hand.");

    const SCOPE: Scope = Scope::Operate;

    const PARKS: bool = true;

    const REQUIRES: &'static [EnvelopeField] = &[EnvelopeField::Reason];

    fn points(&self) -> Option<i64> {
        Some(self.points.get())
    }

    fn counts(&self) -> Option<bool> {
        Some(self.counts.unwrap_or(false))
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.counts == Some(true) && self.points.get() < 0 {
            return Err(DecodeError::field_error("counts", "must not be true where points are taken"));
        }
        Ok(())
    }
}

impl Adjust {
    /// The adjustment, if it does not count points as earned that it takes.
    pub fn try_new(points: SignedPoints, counts: Option<bool>) -> Result<Self, DecodeError> {
        let adjust = Self { points, counts };
        adjust.check().map(|()| adjust)
    }

    /// How many; negative where they are taken.
    pub const fn amount(&self) -> SignedPoints {
        self.points
    }

    /// Whether points that are added count as earned.
    pub fn is_earning(&self) -> bool {
        self.counts == Some(true)
    }
}
