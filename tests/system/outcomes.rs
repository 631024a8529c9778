//! What becomes of a command: applied, refused, duplicate, conflict, parked. The dead ones are in `bad_input`.

use std::time::Duration;

use loyalty_common::{Action, Command, Earn, Spend};
use loyalty_tests::publish::{Raw, command};
use loyalty_tests::{Route, World, points};

#[tokio::test]
async fn what_the_rules_allow_is_applied() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.enroll("ann").await;
    world.earn("ann", 50).await;
    world.spend("ann", 20).await;
    world.exit("ann").await;
    world.enroll("ann").await;
    world.settled().await;
    assert_eq!(
        world.story("ann").await,
        [
            "enroll applied = 0",
            "earn 50 applied = 50",
            "spend 20 applied = 30",
            "exit applied = 0",
            "enroll applied = 0"
        ]
    );
    let ann = world.member("ann").await;
    assert_eq!((ann.status.as_str(), ann.epoch, ann.balance, ann.lifetime), ("active", 2, 0, 0));
    world.verified().await;
}

#[tokio::test]
async fn what_the_rules_forbid_is_refused_with_its_code() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.exit("nobody").await;
    world.enroll("ann").await;
    world.enroll("ann").await;
    world.earn("ann", 50).await;
    world.spend("ann", 51).await;
    world.earn("ann", 1_001_000).await;
    let mut tomorrow = command("ann", Action::Earn(Earn { points: points(5) }));
    tomorrow.occurred_at += Duration::from_secs(24 * 60 * 60);
    world.publish(&tomorrow).await;
    world.exit("ann").await;
    world.earn("ann", 5).await;
    world.spend("ann", 5).await;
    world.exit("ann").await;
    world.settled().await;
    assert_eq!(world.story("nobody").await, ["exit not_a_member = 0"]);
    assert_eq!(
        world.story("ann").await,
        [
            "enroll applied = 0",
            "enroll already_member = 0",
            "earn 50 applied = 50",
            "spend 51 insufficient_points = 50",
            "earn 1001000 too_many_rewards = 50",
            "exit applied = 0",
            "earn 5 exited = 0",
            "spend 5 exited = 0",
            "exit exited = 0",
        ]
    );
    assert_eq!(world.count("dead_letter where reason = 'clock_ahead'").await, 1, "what is ahead is not decided");
    world.verified().await;
}

#[tokio::test]
async fn what_an_operator_terminates_is_over_for_good() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.enroll_with_email("ann", "ann@example.com").await;
    world.earn("ann", 1_200).await;
    world.settled().await;
    world.mailed().await;
    world.terminate("ann").await;
    world.enroll("ann").await;
    world.earn("ann", 1_000).await;
    world.spend("ann", 5).await;
    world.exit("ann").await;
    world.terminate("ann").await;
    world.enroll("bob").await;
    world.exit("bob").await;
    world.terminate("bob").await;
    world.enroll("bob").await;
    world.terminate("nobody").await;
    world.settled().await;
    assert_eq!(
        world.story("ann").await,
        [
            "enroll applied = 0",
            "earn 1200 applied = 1200",
            "terminate applied = 0",
            "enroll terminated = 0",
            "earn 1000 terminated = 0",
            "spend 5 terminated = 0",
            "exit terminated = 0",
            "terminate terminated = 0",
        ]
    );
    assert_eq!(world.story("bob").await[2..], ["terminate applied = 0", "enroll terminated = 0"]);
    assert_eq!(world.story("nobody").await, ["terminate not_a_member = 0"]);
    let ann = world.member("ann").await;
    assert_eq!((ann.status.as_str(), ann.epoch, ann.balance, ann.lifetime), ("terminated", 1, 0, 1_200));
    assert_eq!(world.count("member where email is not null or name is not null").await, 0, "they are forgotten");
    assert_eq!(world.mailbox.emails().len(), 1);
    world.verified().await;
}

#[tokio::test]
async fn a_sum_of_points_that_would_not_fit_is_refused() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.enroll("ann").await;
    world.settled().await;
    // Four million commands of the largest amount lead here; nobody waits for that.
    world.query("update member set lifetime = 4000000000000000000 where member_id = 'ann'", &[]).await;
    world.earn("ann", 1).await;
    world.settled().await;
    assert_eq!(world.story("ann").await, ["enroll applied = 0", "earn 1 balance_limit = 0"]);
    world.query("update member set lifetime = 0 where member_id = 'ann'", &[]).await;
    world.sums_hold().await;
}

#[tokio::test]
async fn a_refusal_is_final() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.enroll("ann").await;
    let spend = command("ann", Action::Spend(Spend { points: points(50) }));
    world.publish(&spend).await;
    world.earn("ann", 100).await;
    world.publish(&spend).await;
    world.settled().await;
    let story = ["enroll applied = 0", "spend 50 insufficient_points = 0", "earn 100 applied = 100"];
    assert_eq!(world.story("ann").await, story);
    world.verified().await;
}

#[tokio::test]
async fn a_repeated_command_changes_nothing() {
    let world = World::start().await;
    world.enroll("ann").await;
    let earn = command("ann", Action::Earn(Earn { points: points(50) }));
    world.publish(&earn).await;
    world.publish(&earn).await;
    // Started late, it finds the first two in one batch; the third comes in another.
    let _worker = world.worker().await;
    world.settled().await;
    let stamped_afresh = Command { occurred_at: earn.occurred_at + Duration::from_secs(60), ..earn };
    world.publish(&stamped_afresh).await;
    world.settled().await;
    assert_eq!(world.story("ann").await, ["enroll applied = 0", "earn 50 applied = 50"]);
    assert_eq!(world.dead_letters().await, []);
    world.verified().await;
}

#[tokio::test]
async fn an_id_that_was_used_for_something_else_is_set_aside_and_the_first_stands() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.enroll("ann").await;
    let earn = command("ann", Action::Earn(Earn { points: points(50) }));
    let other = Command {
        action: Action::Earn(Earn { points: points(60) }),
        reason: Some("order 991".parse().expect("a reason")),
        ..earn.clone()
    };
    world.publish(&earn).await;
    world.publish(&other).await;
    // One that waits has used its id up as well.
    let early = command("bob", Action::Earn(Earn { points: points(5) }));
    world.publish(&early).await;
    world.publish(&Command { action: Action::Spend(Spend { points: points(5) }), ..early }).await;
    world.settled().await;
    let dead_letters = world.dead_letters().await;
    let mut found: Vec<_> =
        dead_letters.iter().map(|dead_letter| (dead_letter.reason.as_str(), dead_letter.error.as_str())).collect();
    found.sort_unstable();
    let differs = [
        "the command id was used before with another points, reason",
        "the command id was used before with another type",
    ];
    assert_eq!(found, differs.map(|error| ("conflict", error)));
    assert_eq!(world.story("ann").await, ["enroll applied = 0", "earn 50 applied = 50"]);
    assert_eq!(world.parked("bob").await, 1);
    world.verified().await;
}

#[tokio::test]
async fn what_came_before_the_enrolment_waits_and_is_then_applied_in_its_order() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let first = command("ann", Action::Earn(Earn { points: points(10) }));
    world.publish(&first).await;
    world.spend("ann", 4).await;
    world.settled().await;
    world.publish(&first).await;
    world.spend("ann", 7).await;
    world.earn("ann", 2_000).await;
    world.settled().await;
    assert_eq!(world.parked("ann").await, 4);
    assert_eq!(world.member("ann").await.status, "unenrolled");
    world.enroll("ann").await;
    world.earn("ann", 1).await;
    world.settled().await;
    assert_eq!(
        world.story("ann").await,
        [
            "enroll applied = 0",
            "earn 10 applied = 10",
            "spend 4 applied = 6",
            "spend 7 insufficient_points = 6",
            "earn 2000 applied = 2006",
            "earn 1 applied = 2007",
        ]
    );
    assert_eq!(world.parked("ann").await, 0);
    assert_eq!(world.count("reward where member_id = 'ann'").await, 2);
    world.verified().await;
}

#[tokio::test]
async fn while_the_database_is_away_commands_are_kept_and_applied_when_it_is_back() {
    let world = World::start().await;
    let proxy = world.database_proxy().await;
    let worker = world.worker_through(Route::to_database(&proxy)).await;
    world.enroll("ann").await;
    world.settled().await;
    proxy.refuse().await.expect("a closed port");
    proxy.cut();
    world.earn("ann", 1).await;
    world.earn("ann", 2).await;
    worker.says("Cannot commit a batch").await;
    proxy.accept().await.expect("an open port");
    world.settled().await;
    assert_eq!(world.story("ann").await, ["enroll applied = 0", "earn 1 applied = 1", "earn 2 applied = 3"]);
    world.verified().await;
}

#[tokio::test]
async fn while_the_database_is_away_nothing_is_acknowledged() {
    let world = World::start().await;
    let proxy = world.database_proxy().await;
    let worker = world.worker_through(Route::to_database(&proxy)).await;
    world.enroll("ann").await;
    world.settled().await;
    proxy.refuse().await.expect("a closed port");
    proxy.cut();
    world.earn("ann", 1).await;
    let earn = command("ann", Action::Earn(Earn { points: points(1) }));
    world.send(&Raw::of(&earn).with_key("nowhere")).await;
    worker.says("could not store dead letters").await;
    worker.says("Cannot commit a batch").await;
    worker.kill().await;
    let _successor = world.worker().await;
    world.settled().await;
    assert_eq!(world.story("ann").await, ["enroll applied = 0", "earn 1 applied = 1"]);
    assert_eq!(world.dead_letters().await.len(), 1);
    world.verified().await;
}
