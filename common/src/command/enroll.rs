//! `enroll`: somebody becomes a member.

use crate::command::payload::{ContactFields, Rules, payload};
use crate::email_address::EmailAddress;
use crate::values::Text;

payload! {
    /// Make the member one of the programme, or again one after an exit.
    pub struct Enroll {
        /// Where the member's emails go; without it, rewards are granted without an email.
        pub email: Option<EmailAddress>,
        /// How emails address the member.
        pub name: Option<Text>,
    }
}

impl Rules for Enroll {
    const EVENT: (&'static str, &'static str) =
        ("member.enrolled", "Somebody became a member, or again one after an exit.");

    fn contact(&self) -> Option<ContactFields<'_>> {
        Some(ContactFields { email: self.email.as_ref().into(), name: self.name.as_ref().into() })
    }
}
