//! `capture`: points that are held are spent.

use crate::command::payload::{Rules, payload};
use crate::ids::CommandId;
use crate::values::Points;

payload! {
    /// Spend points that are held; what is not spent of them comes back.
    pub struct Capture {
        /// The `hold`.
        pub target: CommandId,
        /// How many of them; all, unless it says so.
        pub points: Option<Points>,
    }
}

impl Rules for Capture {
    const EVENT: (&'static str, &'static str) =
        ("hold.captured", "Points that were held are spent; what was not spent of them came back.");

    const PARKS: bool = true;

    fn points(&self) -> Option<i64> {
        self.points.map(Points::get)
    }

    fn target(&self) -> Option<CommandId> {
        Some(self.target)
    }
}
