//! `spend`: points are taken from the balance, if there are enough. What was earned stays earned.

use loyalty_common::{RefusalCode, Spend};

use super::{Applied, Context, Decision, Rule};
use crate::account::Account;
use crate::balance_sheet::Sheet;

impl Rule for Spend {
    fn decide<'a>(&'a self, before: &Account, _: &Context<'_>) -> Decision<'a> {
        debit(before, self.points.get())
    }
}

/// Points go out, all or nothing.
pub(super) fn debit(before: &Account, points: i64) -> Decision<'static> {
    if before.state.balance < points {
        return Decision::Refused(RefusalCode::InsufficientPoints);
    }
    let mut after = before.clone();
    after.debit(points);
    Applied::new(before, after, Sheet { spent: points, ..Sheet::NONE }).into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{active, applied, decided, spend};
    use super::*;
    use crate::effects::Effects;

    #[test]
    fn spending_down_to_a_milestone_rewards_nothing() {
        let spend = spend(2_000);
        let applied = applied(&active(3_000, 3_000), &spend);
        assert_eq!(applied.account.state.balance, 1_000);
        assert_eq!(applied.effects, Effects { delta: -2_000, sheet: Sheet::of_plain(-2_000), ..Effects::NONE });
        assert!(applied.milestones.is_empty() && applied.effects.is_plain());
    }

    #[test]
    fn spending_more_than_the_balance_is_refused() {
        let refused = Decision::Refused(RefusalCode::InsufficientPoints);
        assert_eq!(decided(&active(9, 1_000), &spend(10)), refused);
    }
}
