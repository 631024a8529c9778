//! `terminate`: a membership ends for good, by an operator's hand. Who has left may be terminated too, so that they
//! cannot come back.

use loyalty_common::{RefusalCode, Terminate};

use super::{Applied, Decision, Rule};
use crate::member::{MemberState, MemberStatus};
use crate::programme::Programme;

impl Rule for Terminate {
    fn decide<'a>(&'a self, state: &MemberState, _: &Programme) -> Decision<'a> {
        match state.status {
            MemberStatus::Unenrolled => Decision::Refused(RefusalCode::NotAMember),
            MemberStatus::Terminated => Decision::Refused(RefusalCode::Terminated),
            MemberStatus::Active | MemberStatus::Exited => {
                let member = MemberState { status: MemberStatus::Terminated, balance: 0, ..*state };
                Applied::new(state, member).ending_membership().into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use loyalty_common::{Action, Exit};

    use super::super::tests::{active, applied, decided, earn, enroll, spend, update};
    use super::*;

    fn terminate() -> Action {
        Action::Terminate(Terminate)
    }

    #[test]
    fn a_terminated_member_is_refused_everything_for_good() {
        let left = MemberState { status: MemberStatus::Exited, ..active(0, 2_500) };
        for (before, delta) in [(active(500, 2_500), -500), (left, 0)] {
            let (state, effects, milestones) = applied(&before, &terminate());
            let terminated = MemberState { status: MemberStatus::Terminated, ..active(0, 2_500) };
            assert_eq!((state, effects.delta), (terminated, delta), "what is left is forfeited");
            assert!(milestones.is_empty());
            for action in [enroll(), update(), earn(5), spend(5), Action::Exit(Exit), terminate()] {
                assert_eq!(decided(&terminated, &action), Decision::Refused(RefusalCode::Terminated));
            }
        }
        assert_eq!(decided(&MemberState::UNENROLLED, &terminate()), Decision::Refused(RefusalCode::NotAMember));
    }
}
