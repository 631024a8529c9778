//! What a dry run predicts is what a replay comes to, whatever was before, as long as nothing else happens.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use loyalty_common::command::BODY_MAX_BYTES;
use loyalty_common::{
    Action, Change, Command, CommandId, CommandType, Earn, Enroll, Exit, Points, Spend, Terminate, Update,
};
use loyalty_operator::dry_run::Prediction;
use loyalty_store::dead_letters::{self, Concluded, EditedBody, NewDeadLetter, Reason};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use crate::maintenance::hold_that_ran_out;
use crate::world::{CURSED, World, dead_letter, earn, ends, operator, spend};

/// Enough to meet every pair of outcomes a few times; each runs a replay through the broker.
const CASES: u32 = 32;

/// A command about one of a few members, under one of a few ids: so that repeats and conflicts are common.
#[derive(Clone, Debug)]
struct CommandCase {
    member: u8,
    id: u8,
    action: Action,
    /// Whether its till's clock is a day ahead.
    ahead: bool,
}

/// How a dead letter came to be one.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// It is sound; its worker was not.
    None,
    /// Its body is garbage.
    Garbage,
    /// Its body was garbage, and an operator has edited it.
    Edited,
    /// Its publisher named another version.
    Foreign,
    /// Its publisher named another version, and an operator has said that it is this one.
    Adopted,
    /// It is larger than any command.
    Large,
}

/// A command, what befell it, and why it is a dead letter.
type DeadLetter = (CommandCase, Damage, Reason);

/// Why a dead letter is one, as far as a replay goes: by nothing but its body does it matter.
fn reason() -> impl Strategy<Value = Reason> {
    prop::sample::select(Reason::ALL.to_vec())
}

fn command_case() -> impl Strategy<Value = CommandCase> {
    let points = prop_oneof![4 => 1_i64..4, 1 => Just(1_000), 1 => Just(CURSED)];
    let amount = |points| Points::try_new(points).expect("points");
    let action = prop_oneof![
        2 => Just(Action::Enroll(Enroll { email: None, name: None })),
        4 => points.clone().prop_map(move |points| Action::Earn(Earn { points: amount(points) })),
        2 => points.prop_map(move |points| Action::Spend(Spend { points: amount(points) })),
        1 => Just(Action::Update(Update::try_new(Change::Clear, Change::Keep).expect("a change"))),
        1 => Just(Action::Exit(Exit)),
        1 => Just(Action::Terminate(Terminate)),
    ];
    let ahead = prop::bool::weighted(0.05);
    (0_u8..3, 0_u8..8, action, ahead).prop_map(|(member, id, action, ahead)| CommandCase { member, id, action, ahead })
}

/// A past in which some of the members are enrolled first, or nearly everything would wait for that.
fn begun((enrolled, rest): (Vec<bool>, Vec<CommandCase>)) -> Vec<CommandCase> {
    let action = Action::Enroll(Enroll { email: None, name: None });
    let enroll = |member| CommandCase { member, id: 100 + member, action: action.clone(), ahead: false };
    let enrolled = (0_u8..).zip(enrolled).filter(|(_, enrolled)| *enrolled).map(|(member, _)| enroll(member));
    enrolled.chain(rest).collect()
}

/// Dead letters of which one may be of a command of the past: else hardly any would be a duplicate.
fn repeating(
    (past, mut dead_letters, again): (Vec<CommandCase>, Vec<DeadLetter>, Option<Index>),
) -> (Vec<CommandCase>, Vec<DeadLetter>) {
    let again = again.filter(|_| !past.is_empty()).map(|again| again.get(&past).clone());
    dead_letters.extend(again.map(|asked| (asked, Damage::None, Reason::Crashed)));
    (past, dead_letters)
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => Just(Damage::None),
        1 => Just(Damage::Garbage),
        1 => Just(Damage::Edited),
        1 => Just(Damage::Foreign),
        1 => Just(Damage::Adopted),
        1 => Just(Damage::Large),
    ]
}

impl CommandCase {
    fn command(&self, case: usize) -> Command {
        let member = format!("m{case}-{}", self.member).parse().expect("a member id");
        let id = Uuid::new_v5(&Uuid::nil(), format!("{case}/{}", self.id).as_bytes());
        let mut command = Command { command_id: CommandId::from(id), ..Command::new(member, self.action.clone()) };
        if self.ahead {
            command.occurred_at += Duration::from_secs(24 * 60 * 60);
        }
        command
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
    let past = (prop::collection::vec(any::<bool>(), 3), prop::collection::vec(command_case(), 0..8)).prop_map(begun);
    let dead_letters = prop::collection::vec((command_case(), damage(), reason()), 1..14);
    let strategy = (past, dead_letters, any::<Option<Index>>()).prop_map(repeating);
    let met = Mutex::new(BTreeSet::new());
    let result = TestRunner::new(config).run(&strategy, |(history, dead_letters)| {
        let case = cases.fetch_add(1, Ordering::Relaxed);
        let check = holds(&world, case, &history, &dead_letters);
        let predicted = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(check))?;
        met.lock().expect("nobody panics").extend(predicted.iter().map(kind));
        Ok(())
    });
    result.expect("every prediction holds");
    let met = met.into_inner().expect("nobody panics");
    assert!(KINDS.iter().all(|kind| met.contains(*kind)), "cases too tame: only {met:?}");
    world.verified().await;
    worker.stop().await;
}

async fn holds(
    world: &World,
    case: usize,
    history: &[CommandCase],
    damaged: &[DeadLetter],
) -> Result<Vec<Prediction>, TestCaseError> {
    let before = world.open().await.len();
    // The past is made by replays as well: they see each command to its end.
    let past: Vec<_> = history.iter().map(|asked| dead_letter(&asked.command(case))).collect();
    world.record(&past).await;
    let ids = world.open().await.split_off(before);
    world.replay(&ids).await;
    let before = world.open().await.len();
    record(world, case, damaged).await;
    let ids = world.open().await.split_off(before);

    let mut waiting = waiting(world).await;
    let tables = contents(world).await;
    let predicted = world.dry_run(&ids).await;
    prop_assert_eq!(contents(world).await, tables, "a dry run changes nothing");
    let report = world.replay(&ids).await;
    prop_assert_eq!(&report.unanswered, &[]);

    let dead_letters = dead_letters::replayable(&world.pool, &ids).await.expect("dead letters");
    let mut balances = HashMap::new();
    for (dead_letter, prediction) in dead_letters.iter().zip(&predicted) {
        let id = dead_letter.dead_letter_id;
        let end = report.concluded.iter().find(|(concluded, _)| *concluded == id).map(|(_, end)| end);
        let (command, released) = (dead_letter.command().ok(), report.released.contains(&id));
        let enrols = command.as_ref().is_some_and(|it| it.command_type() == CommandType::Enroll);
        let key = command.as_ref().map(|command| (command.member_id.to_string(), command.command_id.uuid()));
        let waits = key.is_some_and(|key| match prediction {
            Prediction::Parked => !waiting.insert(key),
            _ => waiting.contains(&key),
        });
        prop_assert!(
            agrees(prediction, end, enrols, waits, released),
            "{id}: {prediction:?} came to {end:?} ({ids:?})"
        );
        if let (Prediction::Applied { after, .. }, Some(command)) = (prediction, command) {
            balances.insert(command.member_id, *after);
        }
    }
    // What an enrolment releases is told with it, and shows in the end.
    for (member, after) in balances {
        prop_assert_eq!(world.balance(member.as_str()).await, after, "{}", member);
    }
    Ok(predicted)
}

async fn record(world: &World, case: usize, damaged: &[DeadLetter]) {
    for (asked, damage, reason) in damaged {
        let command = asked.command(case);
        let sound = NewDeadLetter { reason: *reason, ..dead_letter(&command) };
        let garbage =
            NewDeadLetter { body: b"\xff{".to_vec(), reason: Reason::Malformed, ..dead_letter(&earn("x", 1)) };
        let headers = serde_json::json!({"type": "loyalty.command.v9"});
        let foreign = NewDeadLetter { headers, ..sound.clone() };
        match damage {
            Damage::None => world.record(&[sound]).await,
            Damage::Garbage => world.record(&[garbage]).await,
            Damage::Foreign => world.record(&[foreign]).await,
            Damage::Edited => recorded_and_edited(world, garbage, &command).await,
            Damage::Adopted => recorded_and_edited(world, foreign, &command).await,
            Damage::Large => {
                let body = [sound.body.as_slice(), &vec![b' '; BODY_MAX_BYTES]].concat();
                world.record(&[NewDeadLetter { body, ..sound }]).await;
            }
        }
    }
}

async fn recorded_and_edited(world: &World, dead_letter: NewDeadLetter, meant: &Command) {
    world.record(&[dead_letter]).await;
    let id = *world.open().await.last().expect("it was recorded");
    let body = EditedBody::parse(meant.encode()).expect("a command");
    dead_letters::edit(&world.pool, id, &body, &operator("eve")).await.expect("an edit");
}

/// What a command's dead letter can come to. The cases must meet each.
const KINDS: [&str; 8] =
    ["applied", "refused", "duplicate", "parked", "conflict", "failed", "malformed", "unknown_version"];

fn kind(prediction: &Prediction) -> &'static str {
    match prediction {
        Prediction::Applied { .. } => "applied",
        Prediction::Refused { .. } => "refused",
        Prediction::Duplicate => "duplicate",
        Prediction::Parked => "parked",
        Prediction::Conflict { .. } => "conflict",
        Prediction::Broken { reason, .. } => reason.as_str(),
        Prediction::Queued | Prediction::UnknownEmail => "an email's",
    }
}

/// The same end, with the same words. An enrolment's own row has no balance yet of what it releases. Of a command that
/// waits already its dead letter is a duplicate; if an enrolment of the same replay applies it, the replay shows that.
fn agrees(prediction: &Prediction, end: Option<&Concluded>, enrols: bool, waits: bool, released: bool) -> bool {
    match (prediction, end) {
        (Prediction::Duplicate, Some(Concluded::Applied { .. } | Concluded::Refused { .. })) => waits,
        (Prediction::Applied { .. }, Some(Concluded::Applied { balance })) if enrols => *balance == 0,
        (Prediction::Applied { after, .. }, Some(Concluded::Applied { balance })) => balance == after,
        (Prediction::Refused { code, balance }, Some(Concluded::Refused { code: came, balance: left })) => {
            (code, balance) == (came, left)
        }
        (Prediction::Duplicate, Some(Concluded::Duplicate))
        | (Prediction::Parked, Some(Concluded::Parked))
        | (Prediction::Conflict { .. }, Some(Concluded::Dead { reason: Reason::Conflict, .. })) => true,
        (Prediction::Broken { reason: Reason::Failed, .. }, Some(Concluded::Dead { reason, .. })) => {
            *reason == Reason::Failed
        }
        (Prediction::Broken { reason: Reason::ClockAhead, .. }, Some(Concluded::Dead { reason, .. })) => {
            *reason == Reason::ClockAhead
        }
        // What cannot be sent is not sent.
        (Prediction::Broken { .. }, None) => released,
        _ => false,
    }
}

/// The commands that wait for an enrolment.
async fn waiting(world: &World) -> HashSet<(String, Uuid)> {
    let client = world.pool.get().await.expect("a connection");
    let rows = client.query("select member_id, command_id from parked", &[]).await.expect("an answer");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// All that a dry run could have changed.
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
    world.record(&all.iter().map(dead_letter).collect::<Vec<_>>()).await;
    let predicted = world.dry_run(&world.open().await).await;
    let refused = |prediction: &Prediction| matches!(prediction, Prediction::Broken { reason: Reason::Failed, error } if error.contains("cursed"));
    assert_eq!(
        predicted[..2],
        [Prediction::Applied { before: 0, after: 0 }, Prediction::Applied { before: 0, after: 5 }]
    );
    assert!(refused(&predicted[2]) && refused(&predicted[5]), "{predicted:?}");
    assert_eq!(predicted[4], Prediction::Applied { before: 11, after: 18 });
    assert_eq!(world.number("select count(*) from member").await, 0);
}

/// The first waits for the enrolment, and the enrolment, under the same id, is a conflict because of the first.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_hang_on_each_other_come_to_their_ends() {
    let world = World::start().await;
    let worker = world.worker().await;
    let earned = earn("ann", 5);
    let enrolment = Command { command_id: earned.command_id, ..crate::world::enroll("ann") };
    world.record(&[dead_letter(&earned), dead_letter(&enrolment)]).await;
    let report = world.replay(&world.open().await).await;
    let ends = crate::world::ends(&report);
    assert!(matches!(ends[..], [Concluded::Parked, Concluded::Dead { reason: Reason::Conflict, .. }]), "{report:?}");
    worker.stop().await;
}

/// The guard: the balance is taken after what is due, which a command of now has happen first.
#[tokio::test(flavor = "multi_thread")]
async fn the_balance_before_a_command_is_that_after_what_is_due() {
    let world = World::start().await;
    let worker = world.worker().await;
    hold_that_ran_out(&world, "ann", 1).await;
    assert_eq!(world.balance("ann").await, 30);
    world.record(&[dead_letter(&spend("ann", 10))]).await;
    let ids = world.open().await;
    assert_eq!(world.dry_run(&ids).await, [Prediction::Applied { before: 100, after: 90 }]);
    assert_eq!(ends(&world.replay(&ids).await), [Concluded::Applied { balance: 90 }]);
    worker.stop().await;
}
