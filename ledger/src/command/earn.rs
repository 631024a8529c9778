//! `earn`: a credit. It raises the balance and the lifetime sum, and each milestone of that sum is a reward.

use std::ops::Range;

use loyalty_common::{Earn, Points, RefusalCode};

use super::{Applied, Decision, Rule};
use crate::member::{MemberState, MemberStatus};
use crate::programme::{Programme, REWARDS_PER_COMMAND_MAX, SUM_MAX};

impl Rule for Earn {
    fn decide<'a>(&'a self, state: &MemberState, _: &Programme) -> Decision<'a> {
        match state.status {
            MemberStatus::Unenrolled => Decision::Parked,
            MemberStatus::Exited => Decision::Refused(RefusalCode::Exited),
            MemberStatus::Terminated => Decision::Refused(RefusalCode::Terminated),
            MemberStatus::Active => credit(state, self.points),
        }
    }
}

fn credit(state: &MemberState, points: Points) -> Decision<'static> {
    // The lifetime sum is never below the balance, so its bound holds for both; neither addition can wrap.
    let lifetime = state.lifetime + points.get();
    if lifetime > SUM_MAX {
        return Decision::Refused(RefusalCode::BalanceLimit);
    }
    let milestones = crossed(state, lifetime);
    if milestones.end - milestones.start > REWARDS_PER_COMMAND_MAX {
        return Decision::Refused(RefusalCode::TooManyRewards);
    }
    let member = MemberState { balance: state.balance + points.get(), lifetime, ..*state };
    Applied::new(state, member).crossing(milestones).into()
}

/// The numbers of the milestones between the lifetime sum and the one after it.
fn crossed(state: &MemberState, lifetime: i64) -> Range<i64> {
    match state.milestone {
        Some(milestone) => state.lifetime / milestone + 1..lifetime / milestone + 1,
        None => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{active, applied, decided, earn};
    use super::*;

    fn rewards(state: &MemberState, earned: i64) -> Range<i64> {
        applied(state, &earn(earned)).2
    }

    #[test]
    fn a_reward_is_for_each_milestone_of_lifetime_earned_points() {
        assert_eq!(rewards(&active(990, 990), 20), 1..2, "990 + 20 crosses 1000");
        assert_eq!(rewards(&active(990, 990), 9), 1..1);
        assert_eq!(rewards(&active(990, 990), 10), 1..2, "exactly 1000");
        assert_eq!(rewards(&active(0, 1_000), 1_000), 2..3, "spending does not lower what was earned");
        assert_eq!(rewards(&active(0, 0), 3_500), 1..4, "three at once");
        assert!(rewards(&MemberState { milestone: None, ..active(0, 0) }, 3_500).is_empty());
    }

    #[test]
    fn sums_never_wrap() {
        let refused = Decision::Refused(RefusalCode::BalanceLimit);
        let full = MemberState { milestone: None, ..active(SUM_MAX, SUM_MAX) };
        assert_eq!(decided(&full, &earn(1)), refused);
        let spent = MemberState { balance: 0, ..full };
        assert_eq!(decided(&spent, &earn(1)), refused, "the lifetime sum is bounded too");
    }

    #[test]
    fn one_command_crosses_a_bounded_number_of_milestones() {
        assert_eq!(rewards(&active(0, 0), 1_000_999), 1..1_001);
        let refused = Decision::Refused(RefusalCode::TooManyRewards);
        assert_eq!(decided(&active(0, 0), &earn(1_001_000)), refused);
    }
}
