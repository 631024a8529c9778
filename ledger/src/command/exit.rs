//! `exit`: a membership ends. What is left of the balance is forfeited, and who left may come back.

use loyalty_common::{Exit, RefusalCode};

use super::{Applied, Decision, Rule};
use crate::member::{MemberState, MemberStatus};
use crate::programme::Programme;

impl Rule for Exit {
    fn decide<'a>(&'a self, state: &MemberState, _: &Programme) -> Decision<'a> {
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
}
