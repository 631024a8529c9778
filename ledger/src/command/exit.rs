//! `exit`: a membership ends. What is left of the points is forfeited, and who left may come back.

use loyalty_common::Exit;

use super::{Applied, Context, Decision, Rule};
use crate::account::Account;
use crate::member::MemberStatus;

impl Rule for Exit {
    fn decide<'a>(&'a self, before: &Account, _: &Context<'_>) -> Decision<'a> {
        Applied::ending(before, MemberStatus::Exited).into()
    }
}
