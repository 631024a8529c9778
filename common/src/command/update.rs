//! `update`: a member's address and name change, each left as it is, cleared, or set.

use crate::command::Change;
use crate::command::DecodeError;
use crate::command::payload::{ContactFields, Rules, payload};
use crate::email_address::EmailAddress;
use crate::values::Text;

payload! {
    /// Change a member's address or name; what is left out stays as it is.
    ///
    /// Emails that are not sent yet go to the new address; without one they are not sent.
    pub struct Update {
        /// Where the member's emails go from now on; once it is cleared, rewards are granted without an email.
        email: Change<EmailAddress>,
        /// How emails address the member from now on.
        name: Change<Text>,
    }
}

impl Rules for Update {
    const EVENT: (&'static str, &'static str) = ("member.updated", "A member's address or name was changed.");

    const NEEDS_A_FIELD: bool = true;

    fn contact(&self) -> Option<ContactFields<'_>> {
        Some(ContactFields { email: self.email.as_ref(), name: self.name.as_ref() })
    }
}

impl Update {
    /// The change, if it changes one of them.
    pub fn try_new(email: Change<EmailAddress>, name: Change<Text>) -> Result<Self, DecodeError> {
        let update = Self { email, name };
        update.check().map(|()| update)
    }

    /// What becomes of the address.
    pub const fn email(&self) -> &Change<EmailAddress> {
        &self.email
    }

    /// What becomes of the name.
    pub const fn name(&self) -> &Change<Text> {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_changes_something() {
        let error = Update::try_new(Change::Keep, Change::Keep).expect_err("nothing is changed").to_string();
        assert_eq!(error, "`email` or `name` must be given: a value, or null to clear it");
        assert!(Update::try_new(Change::Keep, Change::Clear).is_ok());
    }
}
