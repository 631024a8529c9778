//! What the rules of points say beyond the worked examples.

use jiff::civil::Date;
use loyalty_common::{Action, Capture, Command, CommandId, Enroll, Exit, Hold, Moment, RefusalCode};
use uuid::Uuid;

use super::CommandOutcome;
use super::example::{DAY, Example, earn, hold, lots, member, noon, points, reverse, spend, spent_from_two_lots};
use crate::expiry::Zone;
use crate::programme::Programme;

#[test]
fn points_that_come_back_to_a_day_that_has_passed_expire_at_once_without_grace() {
    let (mut example, spent) = spent_from_two_lots();
    example.programme.reversal.grace_days = 0;
    example.applied("2026-02-10", reverse(spent, None));
    assert_eq!((example.points(), example.lots()), (50, lots(&[("2026-02-19", 50)])));
    let last = example.tables.ledger.last().expect("a row");
    assert_eq!((last.effects.delta, last.effective_at), (-100, noon("2026-02-10")));
}

/// Files that know days and no times are full of midnights.
#[test]
fn a_day_has_passed_at_the_instant_in_which_it_ends() {
    let (mut example, spent) = spent_from_two_lots();
    let midnight = "2026-02-01T00:00:00Z".parse().expect("a time");
    let returned = Command { occurred_at: midnight, ..Command::new(member(), reverse(spent, None)) };
    assert_eq!(example.tables.deliver(&[returned], &example.programme), [CommandOutcome::Applied]);
    assert_eq!(example.lots(), lots(&[("2026-02-19", 50), ("2026-03-03", 100)]));
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

#[test]
fn at_one_instant_points_expire_before_a_hold_runs_out_and_what_comes_back_expires_next() {
    let mut example = Example::with_expiry();
    example.applied("2026-01-01", earn(100));
    let midnight = Moment::try_new("2026-02-01T00:00:00Z".parse().expect("a time")).expect("a moment");
    example.applied("2026-01-20", Hold { points: points(60), expires_at: midnight });
    example.sweep("2026-02-01");
    let rows = example.tables.ledger.iter().skip(3);
    let rows: Vec<_> = rows.map(|row| (row.content.entry_type.as_str(), row.effects.delta)).collect();
    assert_eq!(rows, [("expire", -40), ("lapse", 60), ("expire", -60)]);
}

#[test]
fn holds_of_one_instant_run_out_in_the_order_in_which_they_were_opened() {
    let mut example = Example::of(Programme::default());
    example.applied("2026-01-01", earn(100));
    let command =
        |amount: i64| Command { occurred_at: noon(DAY), ..Command::new(member(), hold(amount, "2026-01-20")) };
    let all = [command(10), command(20), command(30)];
    assert_eq!(example.tables.deliver(&all, &example.programme), [const { CommandOutcome::Applied }; 3]);
    let held = example.account().holds;
    assert_eq!(held.iter().map(|hold| hold.points).collect::<Vec<_>>(), [10, 20, 30]);
    // In one batch with the last of them.
    let rest = [command(5), Command { occurred_at: noon("2026-01-21"), ..Command::new(member(), earn(1)) }];
    assert_eq!(example.tables.deliver(&rest, &example.programme), [const { CommandOutcome::Applied }; 2]);
    let lapses = example.tables.ledger.iter().filter(|row| row.content.target.is_some());
    assert_eq!(lapses.map(|row| row.effects.delta).collect::<Vec<_>>(), [10, 20, 30, 5]);
}

#[test]
fn what_of_a_credit_paid_debt_never_was_in_its_lot() {
    let mut example = Example::with_expiry();
    let returned = example.applied("2026-01-01", earn(400));
    example.applied("2026-01-01", spend(400));
    example.applied("2026-01-01", reverse(returned, None));
    let bought = example.applied("2026-01-01", earn(450));
    example.applied("2026-01-01", earn(100));
    example.sweep("2026-02-10");
    assert_eq!(example.expired(), 150);
    for part in [Some(60), None] {
        example.applied("2026-02-10", reverse(bought, part));
    }
    assert_eq!((example.account().state.debt, example.expired()), (400, 100));
}

#[test]
fn what_comes_back_pays_debt_with_the_soonest_expiring() {
    let mut example = Example::with_expiry();
    example.applied("2026-01-01", earn(100));
    let bought = example.applied("2026-01-20", earn(50));
    let spent = example.applied("2026-01-25", spend(150));
    example.applied("2026-01-25", reverse(bought, None));
    example.applied("2026-01-26", reverse(spent, None));
    assert_eq!(example.lots(), lots(&[("2026-01-31", 50), ("2026-02-19", 50)]));
}

#[test]
fn reversals_in_one_batch_see_each_other_and_their_target() {
    let mut example = Example::of(Programme::default());
    let command = |number: u128, action: Action| Command {
        command_id: CommandId::from(Uuid::from_u128(number)),
        occurred_at: noon(DAY),
        ..Command::new(member(), action)
    };
    let part = || reverse(CommandId::from(Uuid::from_u128(10)), Some(60)).into();
    let batch = [command(10, earn(100).into()), command(11, part()), command(12, part())];
    let more = CommandOutcome::Refused(RefusalCode::MoreThanLeft);
    let outcomes = example.tables.deliver(&batch, &example.programme);
    assert_eq!(outcomes, [CommandOutcome::Applied, CommandOutcome::Applied, more]);
}

#[test]
fn a_hold_that_would_have_run_out_is_refused() {
    let mut example = Example::of(Programme::default());
    example.applied("2026-01-10", earn(100));
    example.refused("2026-01-09", hold(50, "2026-01-10"), RefusalCode::HoldExpired);
    example.applied("2026-01-09", hold(50, "2026-01-11"));
}
