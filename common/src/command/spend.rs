//! `spend`: a debit, all or nothing.

use crate::command::payload::{Rules, payload};
use crate::values::Points;

payload! {
    /// Take points away, if there are enough.
    pub struct Spend {
        /// How many.
        pub points: Points,
    }
}

impl Rules for Spend {
    const EVENT: (&'static str, &'static str) = ("points.spent", "Points were taken.");

    const PARKS: bool = true;

    fn points(&self) -> Option<i64> {
        Some(self.points.get())
    }
}
