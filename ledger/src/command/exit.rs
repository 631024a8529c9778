//! `exit`: a membership ends. What is left of the balance is forfeited, and who left may come back.

use loyalty_common::RefusalCode;

use super::{Applied, Decision};
use crate::member::{MemberState, MemberStatus};
use crate::programme::Programme;
use crate::reads::Reads;

pub(super) const READS: Reads = Reads::NONE;

pub(super) fn decide(state: &MemberState, _: &Programme) -> Decision<'static> {
    match state.status {
        MemberStatus::Unenrolled => Decision::Refused(RefusalCode::NotAMember),
        MemberStatus::Exited => Decision::Refused(RefusalCode::Exited),
        MemberStatus::Terminated => Decision::Refused(RefusalCode::Terminated),
        MemberStatus::Active => {
            let member = MemberState { status: MemberStatus::Exited, balance: 0, ..*state };
            Applied::new(state, member).ending_membership().into()
        }
    }
}
