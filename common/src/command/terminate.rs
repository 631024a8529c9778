//! `terminate`: an operator ends a membership for good.

use crate::command::payload::{Rules, payload};
use crate::scope::Scope;

payload! {
    /// End the membership for good: an operator's command.
    ///
    /// What is left of the balance is forfeited, address and name are forgotten, and every later command about the
    /// member is refused, an enrolment too. No email is sent, not even one that waits already.
    pub struct Terminate;
}

impl Rules for Terminate {
    const EVENT: (&'static str, &'static str) =
        ("member.terminated", "An operator ended the membership for good; what was left is forfeited.");

    /// It cannot be undone.
    const SCOPE: Scope = Scope::Operate;
}
