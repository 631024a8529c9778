//! What must hold of the model after any history (2, 11), and that the histories reach every rule.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::model::{Model, Row, State, Verdict, What};
use crate::strategy::{History, Step, histories};

/// In scenes.
const LENGTH: usize = 40;

/// With the seed, which is fixed, 400 reach all that is expected.
const REACHING: usize = 500;

proptest! {
    #[test]
    fn the_books_of_any_history_balance(history in histories(LENGTH)) {
        let model = told(&history, &mut |_| ());
        for member in model.members() {
            let (rows, state) = (model.rows(member), model.state(member));
            prop_assert!(state.status == crate::model::Status::Unenrolled || model.parked(member).is_empty());
            for length in 1..=rows.len() {
                sound(&rows[..length]);
            }
            closed_once(rows);
            prop_assert_eq!(state.redeemed.len(), state.redeemed.iter().collect::<BTreeSet<_>>().len());
        }
    }
}

#[test]
fn the_histories_reach_every_rule() {
    let mut runner = TestRunner::deterministic();
    let mut reached = BTreeSet::new();
    for _ in 0..REACHING {
        let history = histories(LENGTH).new_tree(&mut runner).expect("a history").current();
        let mut verdicts = BTreeSet::new();
        let model = told(&history, &mut |verdict| {
            verdicts.insert(match verdict {
                Verdict::Applied | Verdict::Refused(_) => "decided".to_owned(),
                other => format!("{other:?}"),
            });
        });
        reached.append(&mut verdicts);
        for rows in model.members().map(|member| model.rows(member)) {
            reached.extend(rows.iter().map(|row| format!("{} {}", row.type_name, row.refused.unwrap_or("applied"))));
            reached.extend(rows.windows(2).flat_map(|two| corners(&two[0], &two[1])).map(str::to_owned));
        }
    }
    let missing: Vec<_> = EXPECTED.iter().filter(|what| !reached.contains(**what)).collect();
    assert!(missing.is_empty(), "{missing:?} of {reached:#?}");
}

/// One outcome a rule. What bounds alone refuse is out of reach of small numbers.
const EXPECTED: [&str; 55] = [
    "Duplicate",
    "Conflict",
    "Parked",
    "ParkedTooMany",
    "ClockAhead",
    "enroll applied",
    "enroll already_member",
    "enroll terminated",
    "update applied",
    "update not_a_member",
    "update exited",
    "earn applied",
    "earn exited",
    "earn terminated",
    "earn too_many_rewards",
    "spend applied",
    "spend insufficient_points",
    "adjust applied",
    "adjust insufficient_points",
    "reverse applied",
    "reverse no_such_target",
    "reverse earlier_membership",
    "reverse not_reversible",
    "reverse already_reversed",
    "reverse more_than_left",
    "reverse insufficient_points",
    "hold applied",
    "hold hold_expired",
    "hold insufficient_points",
    "capture applied",
    "capture no_such_target",
    "capture earlier_membership",
    "capture hold_closed",
    "capture more_than_left",
    "release applied",
    "release no_such_target",
    "release hold_closed",
    "redeem applied",
    "redeem no_such_reward",
    "redeem already_redeemed",
    "exit applied",
    "terminate applied",
    "expire applied",
    "lapse applied",
    "a debt is made",
    "a credit pays a debt",
    "a lapse pays a debt",
    "a release pays a debt",
    "a reversal of a debit pays a debt",
    "a debt is written off",
    "held points are forfeited",
    "a reversal takes what has expired",
    "a reversal takes more than has expired",
    "what comes back from a hold expires at once",
    "what a reversal gives back expires at once",
];

/// What two rows that follow each other show of the corners between the rules.
fn corners(row: &Row, next: &Row) -> Vec<&'static str> {
    let Row { type_name, effects, .. } = row;
    let paid = effects.debt_delta < 0;
    let at_once = next.type_name == "expire" && next.effective_at == row.effective_at && !effects.put.is_empty();
    [
        ("a debt is made", effects.debt_delta > 0),
        ("a credit pays a debt", paid && effects.issued > 0),
        ("a lapse pays a debt", paid && *type_name == "lapse"),
        ("a release pays a debt", paid && *type_name == "release"),
        ("a reversal of a debit pays a debt", paid && *type_name == "reverse"),
        ("a debt is written off", effects.written_off > 0),
        ("held points are forfeited", effects.forfeited > 0 && effects.held_delta < 0),
        ("a reversal takes what has expired", effects.expired < 0),
        ("a reversal takes more than has expired", effects.expired < 0 && !effects.took.is_empty()),
        ("what comes back from a hold expires at once", at_once && effects.closes.is_some()),
        ("what a reversal gives back expires at once", at_once && *type_name == "reverse"),
    ]
    .into_iter()
    .filter_map(|(corner, seen)| seen.then_some(corner))
    .collect()
}

fn told(history: &History, hear: &mut impl FnMut(Verdict)) -> Model {
    let mut model = Model::default();
    for step in &history.steps {
        match step {
            Step::Said { programme, now, said } => hear(model.say(&history.programmes[*programme], *now, said)),
            Step::Sweep { member, until } => model.sweep(member, *until),
        }
    }
    model
}

/// The newest row and what all rows come to.
fn sound(rows: &[Row]) {
    let state = State::of(rows);
    let row = rows.last().expect("a row");
    assert_eq!(row.seq, rows.len() as u64);
    assert!(state.points >= 0 && state.held >= 0 && state.debt >= 0 && state.lifetime >= 0, "{state:?}");
    assert!(state.points == 0 || state.debt == 0, "{state:?}");
    assert_eq!((row.balance_after, &row.lots), (state.points, &state.lots()));
    assert!(state.lots().iter().map(|(_, points)| points).sum::<i64>() <= state.points);
    let held: i64 = state.open_holds(rows).iter().map(|hold| hold.effects.held_delta).sum();
    assert_eq!(held, state.held);
    assert!(!row.moves_time || state.as_of == Some(row.effective_at), "time never falls: {row:?}");
    balanced(rows, &state);
}

fn balanced(rows: &[Row], state: &State) {
    let all = |of: fn(&Row) -> i64| rows.iter().map(of).sum::<i64>();
    let (issued, reversed) = (all(|row| row.effects.issued), all(|row| row.effects.reversed));
    let gone = all(|row| row.effects.spent + row.effects.expired + row.effects.forfeited);
    let written_off = all(|row| row.effects.written_off);
    assert_eq!(issued - reversed + state.debt + written_off, state.points + state.held + gone);
    assert!(all(|row| row.effects.expired) >= 0 && all(|row| row.effects.spent) >= 0);
}

/// Of holds and of the points of a target.
fn closed_once(rows: &[Row]) {
    for row in rows {
        assert!(rows.iter().filter(|other| other.effects.closes == Some(row.seq)).count() <= 1, "{row:?}");
        let is_of_row = |other: &&Row| match other.what {
            Some(What::Reverse { target, .. }) => other.refused.is_none() && row.command_id == Some(target),
            _ => false,
        };
        let reversals: Vec<_> = rows.iter().filter(is_of_row).map(|other| &other.effects).collect();
        let taken_back: i64 = reversals.iter().map(|effects| effects.reversed).sum();
        let given_back: i64 = reversals.iter().map(|effects| -effects.spent).sum();
        assert!(taken_back <= row.effects.issued.max(0) && given_back <= row.effects.spent.max(0), "{row:?}");
    }
}
