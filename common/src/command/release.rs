//! `release`: points that are held come back.

use crate::command::payload::{Rules, payload};
use crate::ids::CommandId;

payload! {
    /// Give back points that are held.
    pub struct Release {
        /// The `hold`.
        pub target: CommandId,
    }
}

impl Rules for Release {
    const EVENT: (&'static str, &'static str) =
        ("hold.released", "Points that were held came back: they were released, or their time was over.");

    const PARKS: bool = true;

    fn target(&self) -> Option<CommandId> {
        Some(self.target)
    }
}
