//! What a rehearsal predicts is what a replay comes to, whatever was before, as long as nothing else happens.

use std::sync::atomic::{AtomicUsize, Ordering};

use loyalty_common::{Action, Command, CommandId, Points};
use loyalty_store::dead_letter::{NewDeadLetter, Reason};
use loyalty_store::letters::{self, Concluded, EditedBody};
use loyalty_worker::rehearsal::Prediction;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use crate::world::{CURSED, World, earn, letter, operator};

/// Enough to meet every pair of outcomes a few times; each runs a replay through the broker.
const CASES: u32 = 32;

/// A command about one of a few members, under one of a few ids: so that repeats and conflicts are common.
#[derive(Clone, Debug)]
struct Asked {
    member: u8,
    id: u8,
    action: Action,
}

/// How a letter came to be one.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// It is sound; its worker was not.
    None,
    /// Its body is garbage.
    Garbage,
    /// Its body was garbage, and an operator has mended it.
    Mended,
    /// Its publisher named another version.
    Foreign,
}

fn asked() -> impl Strategy<Value = Asked> {
    let points = prop_oneof![4 => 1_i64..4, 1 => Just(1_000), 1 => Just(CURSED)];
    let amount = |points| Points::try_new(points).expect("points");
    let action = prop_oneof![
        2 => Just(Action::Enroll { email: None, name: None }),
        4 => points.clone().prop_map(move |points| Action::Earn { points: amount(points) }),
        2 => points.prop_map(move |points| Action::Spend { points: amount(points) }),
        1 => Just(Action::Exit),
        1 => Just(Action::Terminate),
    ];
    (0_u8..3, 0_u8..8, action).prop_map(|(member, id, action)| Asked { member, id, action })
}

/// A past in which some of the members are enrolled first, or nearly everything would wait for that.
fn begun((enrolled, rest): (Vec<bool>, Vec<Asked>)) -> Vec<Asked> {
    let enroll = |member| Asked { member, id: 100 + member, action: Action::Enroll { email: None, name: None } };
    let enrolled = (0_u8..).zip(enrolled).filter(|(_, enrolled)| *enrolled).map(|(member, _)| enroll(member));
    enrolled.chain(rest).collect()
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => Just(Damage::None),
        1 => Just(Damage::Garbage),
        1 => Just(Damage::Mended),
        1 => Just(Damage::Foreign),
    ]
}

impl Asked {
    fn command(&self, case: usize) -> Command {
        let member = format!("m{case}-{}", self.member).parse().expect("a member id");
        let id = Uuid::new_v5(&Uuid::nil(), format!("{case}/{}", self.id).as_bytes());
        Command { command_id: CommandId::from(id), ..Command::new(member, self.action.clone()) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_is_what_a_replay_comes_to() {
    let world = World::start().await;
    world.curse().await;
    let worker = world.worker().await;
    let cases = AtomicUsize::new(0);
    // What failed is printed, and needs no file; to make it smaller costs a replay each time.
    let config =
        ProptestConfig { cases: CASES, failure_persistence: None, max_shrink_iters: 50, ..ProptestConfig::default() };
    let past = (prop::collection::vec(any::<bool>(), 3), prop::collection::vec(asked(), 0..8)).prop_map(begun);
    let strategy = (past, prop::collection::vec((asked(), damage()), 1..14));
    let result = TestRunner::new(config).run(&strategy, |(history, letters)| {
        let case = cases.fetch_add(1, Ordering::Relaxed);
        let check = holds(&world, case, &history, &letters);
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(check))
    });
    result.expect("every prediction holds");
    world.verified().await;
    worker.stop().await;
    world.end().await;
}

async fn holds(
    world: &World,
    case: usize,
    history: &[Asked],
    damaged: &[(Asked, Damage)],
) -> Result<(), TestCaseError> {
    let before = world.open().await.len();
    // The past is made by replays as well: they see each command to its end.
    let past: Vec<_> = history.iter().map(|asked| letter(&asked.command(case))).collect();
    world.record(&past).await;
    let ids = world.open().await.split_off(before);
    world.replay(&ids).await;
    let before = world.open().await.len();
    record(world, case, damaged).await;
    let ids = world.open().await.split_off(before);

    let tables = contents(world).await;
    let predicted = world.rehearse(&ids).await;
    prop_assert_eq!(contents(world).await, tables, "a rehearsal changes nothing");
    let report = world.replay(&ids).await;
    prop_assert_eq!(&report.unanswered, &[]);

    for (id, prediction) in ids.iter().zip(&predicted) {
        let end = report.concluded.iter().find(|(concluded, _)| concluded == id).map(|(_, end)| end);
        let released = report.released.contains(id);
        prop_assert!(agrees(prediction, end, released), "{:?} came to {:?} ({:?})", prediction, end, ids);
    }
    Ok(())
}

async fn record(world: &World, case: usize, damaged: &[(Asked, Damage)]) {
    for (asked, damage) in damaged {
        let command = asked.command(case);
        let sound = letter(&command);
        let garbage = NewDeadLetter { body: b"\xff{".to_vec(), reason: Reason::Malformed, ..letter(&earn("x", 1)) };
        let headers = serde_json::json!({"type": "loyalty.command.v9"});
        match damage {
            Damage::None => world.record(&[sound]).await,
            Damage::Garbage => world.record(&[garbage]).await,
            Damage::Foreign => world.record(&[NewDeadLetter { headers, ..sound }]).await,
            Damage::Mended => {
                world.record(&[garbage]).await;
                let id = *world.open().await.last().expect("it was recorded");
                let body = EditedBody::parse(command.encode()).expect("a command");
                letters::edit(&world.pool, id, &body, &operator("eve")).await.expect("an edit");
            }
        }
    }
}

/// The same end, with the same words. An enrolment's own row has no balance yet of what it releases.
fn agrees(prediction: &Prediction, end: Option<&Concluded>, released: bool) -> bool {
    match (prediction, end) {
        (Prediction::Applied { before, after }, Some(Concluded::Applied { balance })) => {
            balance == after || *before == 0
        }
        (Prediction::Refused { code, balance }, Some(Concluded::Refused { code: came, balance: left })) => {
            (code, balance) == (came, left)
        }
        (Prediction::Duplicate, Some(Concluded::Duplicate))
        | (Prediction::Parked, Some(Concluded::Parked))
        | (Prediction::Conflict { .. }, Some(Concluded::Dead { reason: Reason::Conflict, .. })) => true,
        (Prediction::Broken { reason: Reason::Failed, .. }, Some(Concluded::Dead { reason, .. })) => {
            *reason == Reason::Failed
        }
        // What cannot be sent is not sent.
        (Prediction::Broken { .. }, None) => released,
        _ => false,
    }
}

/// All that a rehearsal could have changed.
async fn contents(world: &World) -> Vec<(String, i64)> {
    let mut contents = Vec::new();
    for table in ["member", "ledger", "parked", "reward", "email", "outbox", "dead_letter", "operator_event"] {
        let sum = format!("select coalesce(sum(hashtext(t::text)), 0)::bigint from {table} as t");
        contents.push((table.to_owned(), world.number(&sum).await));
    }
    contents
}

#[tokio::test]
async fn what_the_database_refuses_is_found_among_those_it_takes() {
    let world = World::start().await;
    world.curse().await;
    let commands: Vec<Command> = [5, CURSED, 6, 7, CURSED].iter().map(|points| earn("ann", *points)).collect();
    let all: Vec<_> = std::iter::once(crate::world::enroll("ann")).chain(commands).collect();
    world.record(&all.iter().map(letter).collect::<Vec<_>>()).await;
    let predicted = world.rehearse(&world.open().await).await;
    let refused = |prediction: &Prediction| matches!(prediction, Prediction::Broken { reason: Reason::Failed, error } if error.contains("cursed"));
    assert_eq!(
        predicted[..2],
        [Prediction::Applied { before: 0, after: 0 }, Prediction::Applied { before: 0, after: 5 }]
    );
    assert!(refused(&predicted[2]) && refused(&predicted[5]), "{predicted:?}");
    assert_eq!(predicted[4], Prediction::Applied { before: 11, after: 18 });
    assert_eq!(world.number("select count(*) from member").await, 0);
    world.end().await;
}

/// The first waits for the enrolment, and the enrolment, under the same id, is a conflict because of the first.
#[tokio::test(flavor = "multi_thread")]
async fn letters_that_hang_on_each_other_come_to_their_ends() {
    let world = World::start().await;
    let worker = world.worker().await;
    let earned = earn("ann", 5);
    let enrolment = Command { command_id: earned.command_id, ..crate::world::enroll("ann") };
    world.record(&[letter(&earned), letter(&enrolment)]).await;
    let report = world.replay(&world.open().await).await;
    let ends = crate::world::ends(&report);
    assert!(matches!(ends[..], [Concluded::Parked, Concluded::Dead { reason: Reason::Conflict, .. }]), "{report:?}");
    worker.stop().await;
    world.end().await;
}
