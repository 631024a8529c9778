//! `terminate`: a membership ends for good, by an operator's hand. Who has left may be terminated too, so that they cannot
//! come back.

use loyalty_common::RefusalCode;

use super::{Applied, Decision};
use crate::member::{MemberState, MemberStatus};
use crate::programme::Programme;
use crate::reads::Reads;

pub(super) const READS: Reads = Reads::NONE;

pub(super) fn decide(state: &MemberState, _: &Programme) -> Decision<'static> {
    match state.status {
        MemberStatus::Unenrolled => Decision::Refused(RefusalCode::NotAMember),
        MemberStatus::Terminated => Decision::Refused(RefusalCode::Terminated),
        MemberStatus::Active | MemberStatus::Exited => {
            let member = MemberState { status: MemberStatus::Terminated, balance: 0, ..*state };
            Applied::new(state, member).ending_membership().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use loyalty_common::Action;

    use super::super::tests::{active, applied, decided, earn, enroll, spend, update};
    use super::*;

    #[test]
    fn a_terminated_member_is_refused_everything_for_good() {
        let left = MemberState { status: MemberStatus::Exited, ..active(0, 2_500) };
        for (before, delta) in [(active(500, 2_500), -500), (left, 0)] {
            let (state, effects, milestones) = applied(&before, &Action::Terminate);
            let terminated = MemberState { status: MemberStatus::Terminated, ..active(0, 2_500) };
            assert_eq!((state, effects.delta), (terminated, delta), "what is left is forfeited");
            assert!(milestones.is_empty());
            for action in [enroll(), update(), earn(5), spend(5), Action::Exit, Action::Terminate] {
                assert_eq!(decided(&terminated, &action), Decision::Refused(RefusalCode::Terminated));
            }
        }
        assert_eq!(decided(&MemberState::UNENROLLED, &Action::Terminate), Decision::Refused(RefusalCode::NotAMember));
    }
}
