//! `adjust`: a credit or a debit by hand. A credit counts as earned only if the command says so.

use loyalty_common::Adjust;

use super::{Context, Decision, Rule, earn, spend};
use crate::account::Account;

impl Rule for Adjust {
    fn decide<'a>(&'a self, before: &Account, context: &Context<'_>) -> Decision<'a> {
        match self.amount().get() {
            points @ 1.. => earn::credit(before, points, self.is_earning(), context),
            points => spend::debit(before, -points),
        }
    }
}
