//! `earn`: a credit. It raises the balance and the lifetime sum, and each milestone of that sum is a reward.

use std::ops::Range;

use loyalty_common::{Earn, RefusalCode};

use super::{Applied, Context, Decision, Rule};
use crate::account::{Account, Part};
use crate::balance_sheet::Sheet;
use crate::member::MemberState;
use crate::programme::REWARDS_PER_COMMAND_MAX;

impl Rule for Earn {
    fn decide<'a>(&'a self, before: &Account, context: &Context<'_>) -> Decision<'a> {
        credit(before, self.points.get(), true, context)
    }
}

/// Points come in, as earned ones or not.
pub(super) fn credit(before: &Account, points: i64, counts: bool, context: &Context<'_>) -> Decision<'static> {
    let mut after = before.clone();
    let day = context.programme.lot_day(context.effective_at);
    after.credit(Part { day, points }, context.effective_at);
    if counts {
        after.state.lifetime += points;
        after.state.peak = after.state.peak.max(after.state.lifetime);
    }
    let milestones = crossed(&before.state, &after.state);
    if milestones.end - milestones.start > REWARDS_PER_COMMAND_MAX {
        return Decision::Refused(RefusalCode::TooManyRewards);
    }
    Applied::new(before, after, Sheet { issued: points, ..Sheet::NONE }).crossing(milestones).into()
}

/// The numbers of the milestones between the one peak and the other: earning again what was reversed crosses none.
fn crossed(before: &MemberState, after: &MemberState) -> Range<i64> {
    before.rewards() + 1..after.rewards() + 1
}

#[cfg(test)]
mod tests {
    use super::super::tests::{active, applied, decided, earn};
    use super::*;
    use crate::programme::SUM_MAX;

    fn rewards(account: &Account, earned: i64) -> Range<i64> {
        applied(account, &earn(earned)).milestones
    }

    #[test]
    fn a_reward_is_for_each_milestone_of_lifetime_earned_points() {
        assert_eq!(rewards(&active(990, 990), 20), 1..2, "990 + 20 crosses 1000");
        assert_eq!(rewards(&active(990, 990), 9), 1..1);
        assert_eq!(rewards(&active(990, 990), 10), 1..2, "exactly 1000");
        assert_eq!(rewards(&active(0, 1_000), 1_000), 2..3, "spending does not lower what was earned");
        assert_eq!(rewards(&active(0, 0), 3_500), 1..4, "three at once");
        let without = Account::of(MemberState { milestone: None, ..active(0, 0).state });
        assert!(rewards(&without, 3_500).is_empty());
        let reversed = Account::of(MemberState { peak: 2_500, ..active(0, 0).state });
        assert!(rewards(&reversed, 2_900).is_empty(), "what was reversed is earned again");
        assert_eq!(rewards(&reversed, 3_000), 3..4);
    }

    #[test]
    fn sums_never_wrap() {
        let refused = Decision::Refused(RefusalCode::BalanceLimit);
        let check = |balance, held, lifetime| {
            let state = MemberState { milestone: None, held, ..active(balance, lifetime).state };
            assert_eq!(decided(&Account::of(state), &earn(1)), refused);
        };
        check(SUM_MAX, 0, SUM_MAX);
        check(0, 0, SUM_MAX);
        check(SUM_MAX - 1, 1, 0);
    }

    #[test]
    fn one_command_crosses_a_bounded_number_of_milestones() {
        assert_eq!(rewards(&active(0, 0), 1_000_999), 1..1_001);
        let refused = Decision::Refused(RefusalCode::TooManyRewards);
        assert_eq!(decided(&active(0, 0), &earn(1_001_000)), refused);
    }
}
