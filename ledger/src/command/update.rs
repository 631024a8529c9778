//! `update`: a member's address or name changes. They are no numbers: the state stays.

use loyalty_common::Update;

use super::{Applied, Context, Decision, Rule};
use crate::account::Account;
use crate::balance_sheet::Sheet;
use crate::contact::ContactChange;

impl Rule for Update {
    fn decide<'a>(&'a self, before: &Account, _: &Context<'_>) -> Decision<'a> {
        let contact = ContactChange { email: self.email().as_ref(), name: self.name().as_ref() };
        Applied::new(before, before.clone(), Sheet::NONE).with_contact(contact).into()
    }
}
