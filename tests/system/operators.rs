//! Operators whose command is cut short, or who are two at the same thing: nothing is doubled, and each is told.

use loyalty_common::{Action, Command, Earn, Enroll, Exit, Partition};
use loyalty_local::Behaviour;
use loyalty_tests::operator::CommandOutput;
use loyalty_tests::publish::{Raw, command};
use loyalty_tests::{Program, Route, World, points};
use serde_json::Value;

/// Dead letters of as many members, so that a replay sends ten of them a second as it is told to.
const DEAD_LETTERS: i64 = 40;

/// A replay that takes four seconds.
const SLOW_REPLAY: [&str; 8] = ["dead-letters", "replay", "--all", "--yes", "--rate", "10/s", "--as", "eve"];

/// A worker, and members with an earning each that came astray.
async fn with_dead_letters(world: &World) -> Program {
    let worker = world.worker().await;
    let member = |number| format!("m-{number}");
    let enrolments: Vec<Command> = (0..DEAD_LETTERS)
        .map(|number| command(&member(number), Action::Enroll(Enroll { email: None, name: None })))
        .collect();
    world.publish_all(&enrolments).await;
    let astray = |number| {
        let earn = command(&member(number), Action::Earn(Earn { points: points(5) }));
        let other = Partition::all().find(|it| *it != Partition::of(&earn.member_id)).expect("there are sixteen");
        Raw::of(&earn).with_key(other.routing_key())
    };
    world.send_all(&(0..DEAD_LETTERS).map(astray).collect::<Vec<_>>()).await;
    world.settled().await;
    assert_eq!(open_dead_letters(world).await, DEAD_LETTERS);
    worker
}

async fn open_dead_letters(world: &World) -> i64 {
    world.count("dead_letter where state = 'open'").await
}

/// Each member has the points once.
async fn all_came_through_once(world: &World) {
    assert_eq!(open_dead_letters(world).await, 0);
    assert_eq!(world.count("member where member_id like 'm-%' and balance = 5").await, DEAD_LETTERS);
    assert_eq!(world.ledger_rows().await, 2 * DEAD_LETTERS);
    world.verified().await;
}

#[tokio::test]
async fn a_replay_that_is_interrupted_leaves_the_rest_open_and_is_repeated_without_harm() {
    let world = World::start().await;
    let _worker = with_dead_letters(&world).await;
    let replay = world.loyalty(&[&SLOW_REPLAY[..], &["--json"]].concat()).await;
    world.applies(10).await;
    let told = CommandOutput::of(&replay.interrupt().await);
    assert_eq!((told.code, &told.json["ended"]), (1, &Value::from("the replay was stopped")));
    assert_eq!(told.count("unanswered"), 0, "what was sent has its result");
    let released = i64::try_from(told.count("released")).expect("a few");
    assert!(released > 0, "{}", told.json);
    assert_eq!(open_dead_letters(&world).await, released);
    assert_eq!(world.decide(&["dead-letters", "replay", "--all"]).await.code, 0);
    all_came_through_once(&world).await;
}

#[tokio::test]
async fn of_two_who_replay_the_same_the_second_is_told_whose_it_is() {
    let world = World::start().await;
    let _worker = with_dead_letters(&world).await;
    let eves = world.loyalty(&SLOW_REPLAY).await;
    world.applies(1).await;
    let fays = world.decide(&["dead-letters", "replay", "--all", "--as", "fay"]).await;
    assert_eq!((fays.code, fays.count("concluded")), (1, 0), "{}", fays.json);
    assert!(fays.list("held").iter().all(|held| held["by"] == "eve") && fays.count("held") > 0, "{}", fays.json);
    let eves = eves.end().await;
    assert_eq!(eves.code, Some(0), "{}{}", eves.output, eves.log);
    all_came_through_once(&world).await;
}

#[tokio::test]
async fn while_the_broker_is_away_a_replay_claims_nothing_and_goes_later() {
    let world = World::start().await;
    let _worker = with_dead_letters(&world).await;
    let proxy = world.broker_proxy().await;
    proxy.refuse().await.expect("a closed port");
    let replay = ["dead-letters", "replay", "--all", "--yes"];
    let ended = world.loyalty_through(&replay, Route::to_broker(&proxy)).await.end().await;
    assert_eq!(ended.code, Some(3), "{}{}", ended.output, ended.log);
    assert_eq!((open_dead_letters(&world).await, world.count("operator_event").await), (DEAD_LETTERS, 0));
    proxy.accept().await.expect("an open port");
    let ended = world.loyalty_through(&replay, Route::to_broker(&proxy)).await.end().await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.output, ended.log);
    all_came_through_once(&world).await;
}

#[tokio::test]
async fn of_two_who_retry_the_same_emails_the_second_finds_them_queued() {
    let world = World::start().await;
    world.mailbox.set(Behaviour::PermanentForDomain("example.com".to_owned())).await.expect("an open port");
    let _worker = world.worker().await;
    world.enroll_with_email("ann", "ann@example.com").await;
    world.earn("ann", 3_000).await;
    world.settled().await;
    world.mailed().await;
    world.mailbox.set(Behaviour::Accept).await.expect("an open port");

    // Both have seen them dead before either queues them.
    let lock = world.lock("select from email for update").await;
    let release = async {
        world.waiting(2).await;
        lock.release().await;
    };
    let retry = ["emails", "retry", "--state", "dead"];
    let (first, second, ()) = tokio::join!(world.decide(&retry), world.decide(&retry), release);
    let mut told = [&first, &second].map(|told| (told.code, told.count("queued"), told.count("left")));
    told.sort_unstable();
    assert_eq!(told, [(0, 3, 0), (1, 0, 3)]);
    world.mailed().await;
    assert_eq!(world.mailbox.emails().len(), 3);
    assert_eq!(world.count("operator_event where action = 'retried'").await, 3);
    world.verified().await;
}

#[tokio::test]
async fn a_dead_letter_is_discarded_and_its_body_erased_and_nobody_can_send_it_again() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let raw =
        Raw::of(&command("ann", Action::Exit(Exit))).with_body(r#"{"name":"Zenobia","email":"zenobia@example.com"}"#);
    world.send(&raw).await;
    world.settled().await;
    let id = world.query("select dead_letter_id from dead_letter", &[]).await[0].get::<_, i64>(0).to_string();
    let told = world.decide(&["dead-letters", "discard", &id, "--erase"]).await;
    assert_eq!((told.code, told.count("discarded"), told.count("erased")), (0, 1, 1), "{}", told.json);

    assert_eq!(world.count("dead_letter where dead_letter::text ilike '%zenobia%' or body <> ''").await, 0);
    let shown = world.loyalty(&["dead-letters", "show", &id, "--reveal"]).await.end().await;
    assert!(shown.output.contains("were erased") && !shown.output.contains("enobia"), "{}", shown.output);
    assert!(shown.output.contains("erased by ") && shown.output.contains("the morning after"), "{}", shown.output);
    let replay = world.decide(&["dead-letters", "replay", &id]).await;
    assert_eq!((replay.code, world.count("dead_letter where state = 'discarded'").await), (1, 1), "{}", replay.json);
    let again = world.decide(&["dead-letters", "discard", &id, "--erase"]).await;
    assert_eq!((again.code, again.count("left")), (1, 1), "{}", again.json);
}

#[tokio::test]
async fn a_command_without_a_receipt_is_found_where_it_waits() {
    let world = World::start().await;
    assert_eq!(world.operate(&["dead-letters", "replay", "--all", "--dry-run"]).await.code, 0, "nothing is to be done");
    let _worker = with_dead_letters(&world).await;
    let receipt = async |member: &str, id: &str| world.loyalty(&["receipt", member, id]).await.end().await;

    let waiting = world.earn("ann", 5).await.to_string();
    world.settled().await;
    let parked = receipt("ann", &waiting).await;
    assert!(parked.output.contains("parked until its member enrols"), "{}", parked.output);

    let dead_letter = &world.query("select dead_letter_id, member_id, command_id::text from dead_letter", &[]).await[0];
    let (id, member): (i64, String) = (dead_letter.get(0), dead_letter.get(1));
    let dead = receipt(&member, dead_letter.get(2)).await;
    assert!(dead.output.contains(&format!("it is dead letter {id}, misrouted:")), "{}", dead.output);
    assert_eq!((parked.code, dead.code), (Some(1), Some(1)));
}
