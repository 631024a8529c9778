//! The worked examples of the rules of points, each by its number.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use loyalty_common::{
    Action, Adjust, Capture, Command, CommandId, Earn, Enroll, Exit, Hold, MemberId, Moment, Points, Redeem,
    RefusalCode, Reverse, RewardNumber, SignedPoints, Spend,
};
use uuid::Uuid;

use super::tables::Tables;
use super::{CommandOutcome, sweep};
use crate::account::Account;
use crate::event_builder::Events;
use crate::expiry::{Expiry, RoundUp, Zone};
use crate::programme::{Programme, Reversal, WhenShort};

/// One member, who is enrolled, and the commands about them.
struct Example {
    tables: Tables,
    programme: Programme,
    sent: u128,
}

impl Example {
    fn of(programme: Programme) -> Self {
        let mut example = Self { tables: Tables::default(), programme, sent: 0 };
        example.applied("2025-01-01", Enroll { email: None, name: None });
        example
    }

    /// The default programme, with points that expire after 30 days.
    fn with_expiry() -> Self {
        Self::of(Programme { expiry: Some(expiry("30d", RoundUp::None)), ..Programme::default() })
    }

    fn sent(&mut self, on: &str, action: Action) -> (CommandId, CommandOutcome) {
        self.sent += 1;
        let command_id = CommandId::from(Uuid::from_u128(self.sent));
        let (member_id, occurred_at) = (member(), noon(on));
        let command = Command { command_id, member_id, occurred_at, reason: None, source_ref: None, action };
        (command_id, self.tables.deliver(&[command], &self.programme).remove(0))
    }

    fn applied(&mut self, on: &str, action: impl Into<Action>) -> CommandId {
        let (command_id, outcome) = self.sent(on, action.into());
        assert_eq!(outcome, CommandOutcome::Applied);
        command_id
    }

    fn refused(&mut self, on: &str, action: impl Into<Action>, code: RefusalCode) {
        assert_eq!(self.sent(on, action.into()).1, CommandOutcome::Refused(code));
    }

    fn sweep(&mut self, until: &str) {
        let changes = sweep(self.tables.view_of_all(), noon(until), &self.programme, Events::On);
        self.tables.write(changes);
    }

    fn account(&self) -> Account {
        self.tables.account(&member())
    }

    fn points(&self) -> i64 {
        self.account().state.balance
    }

    /// What is there of each day.
    fn lots(&self) -> BTreeMap<String, i64> {
        let lots = self.account().lots.into_iter().filter(|lot| lot.remaining > 0);
        lots.map(|lot| (lot.expires_on.to_string(), lot.remaining)).collect()
    }

    fn expired(&self) -> i64 {
        self.tables.ledger.iter().map(|row| row.effects.sheet.expired).sum()
    }

    fn read_at(&self, on: &str) -> Account {
        self.account().as_at(noon(on), &self.programme)
    }
}

fn expiry(after: &str, round_up: RoundUp) -> Expiry {
    Expiry { after: after.parse().expect("a validity"), round_up, zone: Zone::UTC, warn_days: 30 }
}

fn member() -> MemberId {
    "ann".parse().expect("a member id")
}

fn noon(day: &str) -> Timestamp {
    format!("{day}T12:00:00Z").parse().expect("a day")
}

fn points(amount: i64) -> Points {
    Points::try_new(amount).expect("points")
}

fn earn(amount: i64) -> Earn {
    Earn { points: points(amount) }
}

fn spend(amount: i64) -> Spend {
    Spend { points: points(amount) }
}

fn reverse(target: CommandId, amount: Option<i64>) -> Reverse {
    Reverse { target, points: amount.map(points) }
}

fn hold(amount: i64, until: &str) -> Hold {
    Hold { points: points(amount), expires_at: Moment::try_new(noon(until)).expect("a moment") }
}

fn redeem(number: i64) -> Redeem {
    Redeem { number: RewardNumber::try_new(number).expect("a number") }
}

fn lots(of: &[(&str, i64)]) -> BTreeMap<String, i64> {
    of.iter().map(|(day, points)| ((*day).to_owned(), *points)).collect()
}

const DAY: &str = "2026-01-01";

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

/// Examples 5 and 6 begin alike.
fn spent_from_two_lots() -> (Example, CommandId) {
    let mut example = Example::with_expiry();
    example.applied("2026-01-01", earn(100));
    example.applied("2026-01-20", earn(50));
    assert_eq!(example.lots(), lots(&[("2026-01-31", 100), ("2026-02-19", 50)]));
    let spent = example.applied("2026-01-25", spend(120));
    (example, spent)
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

// --- What the rules say beyond the examples ---------------------------------------------------------------------------

#[test]
fn points_that_come_back_to_a_day_that_has_passed_expire_at_once_without_grace() {
    let (mut example, spent) = spent_from_two_lots();
    example.programme.reversal.grace_days = 0;
    example.applied("2026-02-10", reverse(spent, None));
    assert_eq!((example.points(), example.lots()), (50, lots(&[("2026-02-19", 50)])));
    let last = example.tables.ledger.last().expect("a row");
    assert_eq!((last.effects.delta, last.effective_at), (-100, noon("2026-02-10")));
}

#[test]
fn a_part_of_a_debit_comes_back_to_its_latest_day_first() {
    let (mut example, spent) = spent_from_two_lots();
    example.applied("2026-01-26", reverse(spent, Some(30)));
    assert_eq!(example.lots(), lots(&[("2026-01-31", 10), ("2026-02-19", 50)]));
    example.applied("2026-01-26", reverse(spent, None));
    assert_eq!(example.lots(), lots(&[("2026-01-31", 100), ("2026-02-19", 50)]));
}

#[test]
fn a_capture_gives_back_what_it_kept_of_its_hold() {
    let mut example = Example::with_expiry();
    example.applied("2026-01-01", earn(100));
    example.applied("2026-01-20", earn(50));
    let held = example.applied("2026-01-21", hold(120, "2026-01-31"));
    let captured = example.applied("2026-01-22", Capture { target: held, points: Some(points(110)) });
    assert_eq!(example.lots(), lots(&[("2026-02-19", 40)]));
    example.applied("2026-01-23", reverse(captured, None));
    assert_eq!(example.lots(), lots(&[("2026-01-31", 100), ("2026-02-19", 50)]));
    example.refused("2026-01-23", reverse(held, None), RefusalCode::NotReversible);
}

#[test]
fn a_reversal_takes_what_expired_unspent_first_so_that_nobody_pays_twice() {
    let mut example = Example::with_expiry();
    let bought = example.applied("2026-01-01", earn(100));
    example.applied("2026-01-20", earn(50));
    example.applied("2026-01-21", spend(70));
    example.applied("2026-02-10", reverse(bought, None));
    // 30 of it had expired; of the other 70, 50 are there and 20 are owed.
    let state = example.account().state;
    assert_eq!((state.balance, state.debt, example.expired()), (0, 20, 0));
}

#[test]
fn a_row_of_an_earlier_membership_cannot_be_reversed() {
    let mut example = Example::of(Programme::default());
    let bought = example.applied(DAY, earn(100));
    example.applied(DAY, Exit);
    example.applied(DAY, Enroll { email: None, name: None });
    example.refused(DAY, reverse(bought, None), RefusalCode::EarlierMembership);
}

#[test]
fn the_time_of_a_member_never_goes_back() {
    let mut example = Example::with_expiry();
    example.applied("2026-01-10", earn(100));
    example.applied("2026-01-01", earn(10));
    assert_eq!(example.lots(), lots(&[("2026-02-09", 110)]), "one day, that of the later");
    example.refused("2026-01-05", spend(500), RefusalCode::InsufficientPoints);
    assert_eq!(example.account().state.as_of, Some(noon("2026-01-10")));
    let date = Date::constant(2026, 1, 10);
    assert!(example.tables.ledger.iter().skip(2).all(|row| Zone::UTC.date(row.effective_at) == date));
}
