//! `update`: a member's address or name changes. They are no numbers: the state stays.

use loyalty_common::{RefusalCode, Update};

use super::{Applied, Decision, Rule};
use crate::contact::ContactChange;
use crate::member::{MemberState, MemberStatus};
use crate::programme::Programme;

impl Rule for Update {
    fn decide<'a>(&'a self, state: &MemberState, _: &Programme) -> Decision<'a> {
        match state.status {
            MemberStatus::Unenrolled => Decision::Refused(RefusalCode::NotAMember),
            MemberStatus::Exited => Decision::Refused(RefusalCode::Exited),
            MemberStatus::Terminated => Decision::Refused(RefusalCode::Terminated),
            MemberStatus::Active => {
                let contact = ContactChange { email: self.email().as_ref(), name: self.name().as_ref() };
                Applied::new(state, *state).with_contact(contact).into()
            }
        }
    }
}
