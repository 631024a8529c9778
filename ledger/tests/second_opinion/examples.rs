//! The worked examples (10) that are about points.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::model::{After, Expiry, Model, Programme, RoundUp, Said, State, Verdict, What, WhenShort};

const APPLIED: Verdict = Verdict::Applied;

/// Ann's programme and what became of her. The ids of her commands are 1, 2, 3, ..., the first that of her enrolment.
struct Ann {
    programme: Programme,
    model: Model,
    last_id: u128,
}

impl Ann {
    fn enrolled(programme: Programme) -> Self {
        let mut ann = Self { programme, model: Model::default(), last_id: 0 };
        assert_eq!(ann.says("2025-01-01", What::Enroll), APPLIED);
        ann
    }

    fn says(&mut self, day: &str, what: What) -> Verdict {
        self.last_id += 1;
        let occurred_at = noon(day);
        let said = Said { command_id: self.last_id, member: "ann".to_owned(), occurred_at, what };
        self.model.say(&self.programme, occurred_at, &said)
    }

    fn does(&mut self, day: &str, whats: &[What]) {
        for what in whats {
            assert_eq!(self.says(day, *what), APPLIED, "{what:?}");
        }
    }

    fn on(&mut self, day: &str) -> State {
        self.model.sweep("ann", noon(day));
        self.state()
    }

    fn state(&self) -> State {
        self.model.state("ann")
    }

    fn expired(&self) -> i64 {
        self.model.rows("ann").iter().map(|row| row.effects.expired).sum()
    }

    /// The lots, by the first instant at which they can no longer be spent.
    fn lots(&self) -> Vec<(String, i64)> {
        self.state().lots().into_iter().map(|(at, points)| (at.to_string(), points)).collect()
    }
}

fn noon(day: &str) -> Timestamp {
    format!("{day}T12:00:00Z").parse().expect("a day")
}

fn plain() -> Programme {
    Programme { milestone: 1_000, expiry: None, grace_days: 30, when_short: WhenShort::Debt }
}

fn expiring(after: After, round_up: RoundUp) -> Programme {
    Programme { expiry: Some(Expiry { after, round_up, zone: TimeZone::UTC }), ..plain() }
}

fn thirty_days() -> Programme {
    expiring(After::Days(30), RoundUp::None)
}

fn earn(points: i64) -> What {
    What::Earn { points }
}

fn spend(points: i64) -> What {
    What::Spend { points }
}

fn hold(points: i64, until: &str) -> What {
    What::Hold { points, expires_at: noon(until) }
}

fn reverse(target: u128, points: Option<i64>) -> What {
    What::Reverse { target, points }
}

fn lot(end: &str, points: i64) -> (String, i64) {
    (format!("{end}T00:00:00Z"), points)
}

#[test]
fn e01_buying_and_returning_again_and_again_is_rewarded_once() {
    let mut ann = Ann::enrolled(plain());
    ann.does("2025-01-01", &[earn(1_000), reverse(2, None), earn(1_000), reverse(4, None), earn(1_000)]);
    let State { points, lifetime, granted, .. } = ann.state();
    assert_eq!((points, lifetime, granted), (1_000, 1_000, vec![1]));
}

#[test]
fn e02_reversals_never_pass_their_target() {
    let mut ann = Ann::enrolled(plain());
    ann.does("2025-01-01", &[earn(100), spend(60), reverse(3, Some(20))]);
    assert_eq!(ann.says("2025-01-01", reverse(3, Some(60))), Verdict::Refused("more_than_left"));
    assert_eq!((ann.state().points, ann.state().lifetime), (60, 100));
}

#[test]
fn e03_what_is_spent_already_becomes_debt() {
    let mut ann = Ann::enrolled(plain());
    ann.does("2025-01-01", &[earn(500), spend(400), reverse(2, None)]);
    let State { points, debt, lifetime, .. } = ann.state();
    assert_eq!((points, debt, lifetime), (0, 400, 0));
    ann.does("2025-01-01", &[earn(450)]);
    let State { points, debt, lifetime, .. } = ann.state();
    assert_eq!((points, debt, lifetime), (50, 0, 450));
}

#[test]
fn e04_or_the_reversal_is_refused() {
    let mut ann = Ann::enrolled(Programme { when_short: WhenShort::Refuse, ..plain() });
    ann.does("2025-01-01", &[earn(500), spend(400)]);
    assert_eq!(ann.says("2025-01-01", reverse(2, None)), Verdict::Refused("insufficient_points"));
    assert_eq!((ann.state().points, ann.state().debt), (100, 0));
}

fn spent_from_two_lots() -> Ann {
    let mut ann = Ann::enrolled(thirty_days());
    ann.does("2025-01-01", &[earn(100)]);
    ann.does("2025-01-20", &[earn(50)]);
    ann.does("2025-01-25", &[spend(120)]);
    ann
}

#[test]
fn e05_a_spend_takes_what_expires_soonest() {
    let mut ann = spent_from_two_lots();
    assert_eq!(ann.lots(), [lot("2025-02-20", 30)]);
    assert_eq!(ann.on("2025-02-20").points, 0);
    assert_eq!(ann.expired(), 30);
}

#[test]
fn e06_what_comes_back_after_its_day_has_days_of_grace() {
    let mut ann = spent_from_two_lots();
    ann.does("2025-02-10", &[reverse(4, None)]);
    assert_eq!(ann.lots(), [lot("2025-02-20", 50), lot("2025-03-13", 100)]);
    assert_eq!(ann.state().points, 150);
}

#[test]
fn e07_months_are_rounded_up_to_the_end_of_the_year() {
    let mut ann = Ann::enrolled(expiring(After::Months(12), RoundUp::Year));
    ann.does("2025-03-15", &[earn(10)]);
    assert_eq!(ann.lots(), [lot("2027-01-01", 10)]);
}

#[test]
fn e08_a_till_that_was_offline_over_midnight_is_judged_fairly() {
    let mut ann = Ann::enrolled(thirty_days());
    ann.does("2025-01-01", &[earn(100)]);
    let occurred_at = noon("2025-01-30");
    let said = Said { command_id: 9, member: "ann".to_owned(), occurred_at, what: spend(80) };
    let verdict = ann.model.say(&ann.programme, noon("2025-02-01"), &said);
    assert_eq!((verdict, ann.state().points), (APPLIED, 20));
    assert_eq!((ann.on("2025-02-01").points, ann.expired()), (0, 20));
}

#[test]
fn e09_held_points_cannot_be_spent() {
    let mut ann = Ann::enrolled(plain());
    ann.does("2025-01-01", &[earn(100), hold(70, "2025-01-02")]);
    assert_eq!(ann.says("2025-01-01", spend(40)), Verdict::Refused("insufficient_points"));
    ann.does("2025-01-01", &[What::Capture { target: 3, points: Some(50) }]);
    assert_eq!((ann.state().points, ann.state().held), (50, 0));
}

#[test]
fn e10_held_points_expire_when_they_come_back() {
    let mut ann = Ann::enrolled(thirty_days());
    ann.does("2025-01-01", &[earn(100)]);
    ann.does("2025-01-20", &[hold(60, "2025-02-10")]);
    let State { points, held, .. } = ann.on("2025-02-01");
    assert_eq!((points, held, ann.expired()), (0, 60, 40));
    let State { points, held, .. } = ann.on("2025-02-11");
    assert_eq!((points, held, ann.expired()), (0, 0, 100));
    let last: Vec<_> = ann.model.rows("ann").iter().skip(3).map(|row| (row.type_name, row.effective_at)).collect();
    let night = "2025-02-01T00:00:00Z".parse().expect("a time");
    assert_eq!(last, [("expire", night), ("lapse", noon("2025-02-10")), ("expire", noon("2025-02-10"))]);
}

#[test]
fn e15_an_opening_balance_is_not_earned() {
    let mut ann = Ann::enrolled(plain());
    ann.does("2025-01-01", &[What::Adjust { points: 12_400, counts: false }, earn(1_000)]);
    let State { points, lifetime, granted, .. } = ann.state();
    assert_eq!((points, lifetime, granted), (13_400, 1_000, vec![1]));
}

#[test]
fn e16_a_reward_is_redeemed_once() {
    let mut ann = Ann::enrolled(plain());
    ann.does("2025-01-01", &[earn(2_500), What::Redeem { number: 1 }]);
    assert_eq!(ann.says("2025-01-01", What::Redeem { number: 1 }), Verdict::Refused("already_redeemed"));
    assert_eq!(ann.says("2025-01-01", What::Redeem { number: 3 }), Verdict::Refused("no_such_reward"));
    assert_eq!(ann.state().redeemed, [1]);
}

#[test]
fn e18_an_exit_forfeits_what_is_held_too() {
    let mut ann = Ann::enrolled(plain());
    ann.does("2025-01-01", &[earn(100), hold(30, "2025-01-02"), What::Exit]);
    let forfeited = ann.model.rows("ann").last().expect("the exit").effects.forfeited;
    assert_eq!((ann.state().points, ann.state().held, forfeited), (0, 0, 100));
}
