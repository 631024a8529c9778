//! `earn`: a credit.

use crate::command::payload::{Rules, payload};
use crate::values::Points;

payload! {
    /// Add points.
    pub struct Earn {
        /// How many.
        pub points: Points,
    }
}

impl Rules for Earn {
    const EVENT: (&'static str, &'static str) = ("points.earned", "Points were added.");

    const PARKS: bool = true;

    fn points(&self) -> Option<i64> {
        Some(self.points.get())
    }
}
