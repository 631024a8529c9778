//! `exit`: a member leaves.

use crate::command::payload::{Rules, payload};

payload! {
    /// End the membership; what is left of the balance is forfeited.
    pub struct Exit;
}

impl Rules for Exit {
    const EVENT: (&'static str, &'static str) =
        ("member.exited", "A member left; what was left of the balance is forfeited.");
}
