//! `update`: a member's address or name changes. They are no numbers: the state stays.

use loyalty_common::{ContactUpdate, RefusalCode};

use super::{Applied, Decision};
use crate::contact::ContactChange;
use crate::member::{MemberState, MemberStatus};
use crate::programme::Programme;
use crate::reads::Reads;

pub(super) const READS: Reads = Reads::NONE;

pub(super) fn decide<'a>(state: &MemberState, _: &Programme, update: &'a ContactUpdate) -> Decision<'a> {
    match state.status {
        MemberStatus::Unenrolled => Decision::Refused(RefusalCode::NotAMember),
        MemberStatus::Exited => Decision::Refused(RefusalCode::Exited),
        MemberStatus::Terminated => Decision::Refused(RefusalCode::Terminated),
        MemberStatus::Active => {
            let contact = ContactChange { email: update.email().as_ref(), name: update.name().as_ref() };
            Applied::new(state, *state).with_contact(contact).into()
        }
    }
}
