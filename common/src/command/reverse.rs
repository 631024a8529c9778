//! `reverse`: a credit or a debit is undone, wholly or in part.

use crate::command::payload::{Rules, payload};
use crate::ids::CommandId;
use crate::values::Points;

payload! {
    /// Undo an earlier credit or debit of the member, wholly or in part.
    ///
    /// Points that were added are taken back, also where they are spent already; points that were taken come back.
    pub struct Reverse {
        /// The command that is undone.
        pub target: CommandId,
        /// How many; all that are left of it, unless it says so.
        pub points: Option<Points>,
    }
}

impl Rules for Reverse {
    const EVENT: (&'static str, &'static str) =
        ("points.reversed", "A credit or a debit was undone, wholly or in part.");

    const PARKS: bool = true;

    fn points(&self) -> Option<i64> {
        self.points.map(Points::get)
    }

    fn target(&self) -> Option<CommandId> {
        Some(self.target)
    }
}
