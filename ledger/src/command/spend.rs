//! `spend`: points are taken from the balance, if there are enough. What was earned stays earned.

use loyalty_common::{RefusalCode, Spend};

use super::{Applied, Decision, Rule};
use crate::member::{MemberState, MemberStatus};
use crate::programme::Programme;

impl Rule for Spend {
    fn decide<'a>(&'a self, state: &MemberState, _: &Programme) -> Decision<'a> {
        match state.status {
            MemberStatus::Unenrolled => Decision::Parked,
            MemberStatus::Exited => Decision::Refused(RefusalCode::Exited),
            MemberStatus::Terminated => Decision::Refused(RefusalCode::Terminated),
            MemberStatus::Active if state.balance < self.points.get() => {
                Decision::Refused(RefusalCode::InsufficientPoints)
            }
            MemberStatus::Active => {
                Applied::new(state, MemberState { balance: state.balance - self.points.get(), ..*state }).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{active, applied, decided, spend};
    use super::*;
    use crate::entry::Effects;

    #[test]
    fn spending_down_to_a_milestone_rewards_nothing() {
        let effects = Effects { delta: -2_000, ..Effects::NONE };
        assert_eq!(applied(&active(3_000, 3_000), &spend(2_000)), (active(1_000, 3_000), effects, 0..0));
    }

    #[test]
    fn spending_more_than_the_balance_is_refused() {
        let refused = Decision::Refused(RefusalCode::InsufficientPoints);
        assert_eq!(decided(&active(9, 1_000), &spend(10)), refused);
    }
}
