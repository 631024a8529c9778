//! The worked examples of the rules of points, each by its number.

use loyalty_common::{Adjust, Capture, Exit, RefusalCode, SignedPoints};

use super::example::{
    DAY, Example, earn, expiry, hold, lots, noon, points, redeem, reverse, spend, spent_from_two_lots,
};
use crate::expiry::RoundUp;
use crate::programme::{Programme, Reversal, WhenShort};

#[test]
fn example_1_returning_and_buying_again_earns_the_rewards_of_buying_once() {
    let mut example = Example::of(Programme::default());
    for _ in 0..2 {
        let bought = example.applied(DAY, earn(1_000));
        example.applied(DAY, reverse(bought, None));
    }
    example.applied(DAY, earn(1_000));
    let state = example.account().state;
    assert_eq!((state.balance, state.lifetime, example.tables.rewards.len()), (1_000, 1_000, 1));
}

#[test]
fn example_2_no_more_is_given_back_than_was_spent() {
    let mut example = Example::of(Programme::default());
    example.applied(DAY, earn(100));
    let spent = example.applied(DAY, spend(60));
    example.applied(DAY, reverse(spent, Some(20)));
    example.refused(DAY, reverse(spent, Some(60)), RefusalCode::MoreThanLeft);
    let state = example.account().state;
    assert_eq!((state.balance, state.lifetime), (60, 100));
}

#[test]
fn example_3_what_was_spent_already_is_owed_and_paid_by_what_comes_next() {
    let mut example = Example::of(Programme::default());
    let bought = example.applied(DAY, earn(500));
    example.applied(DAY, spend(400));
    example.applied(DAY, reverse(bought, None));
    let state = example.account().state;
    assert_eq!((state.balance, state.debt, state.lifetime), (0, 400, 0));
    example.applied(DAY, earn(450));
    let state = example.account().state;
    assert_eq!((state.balance, state.debt, state.lifetime), (50, 0, 450));
}

#[test]
fn example_4_or_the_reversal_is_refused() {
    let reversal = Reversal { when_short: WhenShort::Refuse, ..Reversal::default() };
    let mut example = Example::of(Programme { reversal, ..Programme::default() });
    let bought = example.applied(DAY, earn(500));
    example.applied(DAY, spend(400));
    example.refused(DAY, reverse(bought, None), RefusalCode::InsufficientPoints);
    assert_eq!(example.points(), 100);
}

#[test]
fn example_5_the_soonest_expiring_is_spent_first_and_the_rest_expires() {
    let (mut example, _) = spent_from_two_lots();
    let taken = &example.tables.ledger.last().expect("a row").effects.lots;
    assert_eq!(taken.iter().map(|lot| lot.delta).collect::<Vec<_>>(), [-100, -20]);
    assert_eq!((example.points(), example.lots()), (30, lots(&[("2026-02-19", 30)])));
    assert_eq!(example.read_at("2026-02-20").state.balance, 0, "a read does not wait for the sweep");
    example.sweep("2026-02-19");
    assert_eq!(example.points(), 30, "the day is not over");
    example.sweep("2026-02-20");
    assert_eq!((example.points(), example.expired()), (0, 30));
    assert_eq!(example.account().state.as_of, Some("2026-02-20T00:00:00Z".parse().expect("a time")));
}

#[test]
fn example_6_what_was_spent_comes_back_to_its_day_or_with_days_of_grace() {
    let (mut example, spent) = spent_from_two_lots();
    example.applied("2026-02-10", reverse(spent, None));
    assert_eq!((example.points(), example.lots()), (150, lots(&[("2026-02-19", 50), ("2026-03-12", 100)])));
}

#[test]
fn example_7_the_day_is_rounded_up() {
    let expiry = Some(expiry("12 months", RoundUp::Year));
    let mut example = Example::of(Programme { expiry, ..Programme::default() });
    example.applied("2025-03-15", earn(10));
    assert_eq!(example.lots(), lots(&[("2026-12-31", 10)]));
}

#[test]
fn example_8_a_till_that_was_offline_over_midnight_is_judged_by_its_own_time() {
    let mut example = Example::with_expiry();
    example.applied("2026-01-01", earn(100));
    example.tables.now = noon("2026-02-01");
    example.applied("2026-01-30", spend(80));
    assert_eq!(example.points(), 20);
    assert_eq!(example.read_at("2026-02-01").state.balance, 0, "which expire");
}

#[test]
fn example_9_what_is_held_cannot_be_spent_and_what_is_not_captured_comes_back() {
    let mut example = Example::of(Programme::default());
    example.applied(DAY, earn(100));
    let held = example.applied(DAY, hold(70, "2026-01-10"));
    example.refused(DAY, spend(40), RefusalCode::InsufficientPoints);
    example.applied(DAY, Capture { target: held, points: Some(points(50)) });
    let state = example.account().state;
    assert_eq!((state.balance, state.held), (50, 0));
    example.refused(DAY, Capture { target: held, points: None }, RefusalCode::HoldClosed);
}

#[test]
fn example_10_what_is_held_does_not_expire_before_it_comes_back() {
    let mut example = Example::with_expiry();
    example.applied("2026-01-01", earn(100));
    example.applied("2026-01-20", hold(60, "2026-02-10"));
    example.sweep("2026-02-01");
    let state = example.account().state;
    assert_eq!((state.balance, state.held, example.expired()), (0, 60, 40));
    example.sweep("2026-02-11");
    let state = example.account().state;
    assert_eq!((state.balance, state.held, example.expired()), (0, 0, 100));
}

#[test]
fn example_15_an_opening_balance_earns_no_reward() {
    let mut example = Example::of(Programme::default());
    let opening = SignedPoints::try_new(12_400).expect("points");
    example.applied(DAY, Adjust::try_new(opening, None).expect("an adjustment"));
    example.applied(DAY, earn(1_000));
    let state = example.account().state;
    assert_eq!((state.balance, state.lifetime, example.tables.rewards.len()), (13_400, 1_000, 1));
}

#[test]
fn example_16_a_reward_is_used_once() {
    let mut example = Example::of(Programme::default());
    example.applied(DAY, earn(2_500));
    example.applied(DAY, redeem(1));
    example.refused(DAY, redeem(1), RefusalCode::AlreadyRedeemed);
    example.refused(DAY, redeem(3), RefusalCode::NoSuchReward);
}

#[test]
fn example_18_what_is_held_is_forfeited_too_by_who_leaves() {
    let mut example = Example::of(Programme::default());
    example.applied(DAY, earn(100));
    example.applied(DAY, hold(30, "2026-01-10"));
    example.applied(DAY, Exit);
    let forfeited = example.tables.ledger.last().expect("a row").effects.sheet.forfeited;
    assert_eq!((example.points(), example.account().state.held, forfeited), (0, 0, 100));
}
