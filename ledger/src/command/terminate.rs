//! `terminate`: a membership ends for good, by an operator's hand. Who has left may be terminated too, so that they
//! cannot come back.

use loyalty_common::{RefusalCode, Terminate};

use super::{Applied, Context, Decision, Rule};
use crate::account::Account;
use crate::member::MemberStatus;

impl Rule for Terminate {
    fn gate(&self, status: MemberStatus, _: bool) -> Option<Decision<'static>> {
        match status {
            MemberStatus::Unenrolled => Some(Decision::Refused(RefusalCode::NotAMember)),
            MemberStatus::Terminated => Some(Decision::Refused(RefusalCode::Terminated)),
            MemberStatus::Active | MemberStatus::Exited => None,
        }
    }

    fn decide<'a>(&'a self, before: &Account, _: &Context<'_>) -> Decision<'a> {
        Applied::ending(before, MemberStatus::Terminated).into()
    }
}

#[cfg(test)]
mod tests {
    use loyalty_common::Action;

    use super::super::tests::{active, applied, decided, one_of_each};
    use super::*;
    use crate::member::MemberState;

    #[test]
    fn a_terminated_member_is_refused_everything_for_good() {
        let left = Account::of(MemberState { status: MemberStatus::Exited, ..active(0, 2_500).state });
        for (before, delta) in [(active(500, 2_500), -500), (left, 0)] {
            let Applied { account, effects, milestones, .. } = applied(&before, &Action::Terminate(Terminate));
            let terminated = MemberState { status: MemberStatus::Terminated, ..active(0, 2_500).state };
            assert_eq!((account.state, effects.delta), (terminated, delta), "what is left is forfeited");
            assert!(milestones.is_empty());
            for action in one_of_each() {
                assert_eq!(decided(&account, &action), Decision::Refused(RefusalCode::Terminated));
            }
        }
        let nobody = Account::of(MemberState::UNENROLLED);
        assert_eq!(decided(&nobody, &Action::Terminate(Terminate)), Decision::Refused(RefusalCode::NotAMember));
    }
}
