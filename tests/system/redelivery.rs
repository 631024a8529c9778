//! Messages that come twice, because their worker was lost between taking them and saying so.

use loyalty_common::Action;
use loyalty_tests::publishing::{Raw, command};
use loyalty_tests::{Way, World};

/// Rows of the ledger can be read but none written: a transaction stands still with its decisions made.
const NO_COMMITS: &str = "lock table ledger in share row exclusive mode";

#[tokio::test]
async fn a_worker_killed_between_commit_and_acknowledgement_doubles_nothing() {
    let world = World::start().await;
    let proxy = world.broker_proxy().await;
    let worker = world.worker_through(Way::to_broker(&proxy)).await;
    world.enroll("ann").await;
    world.settled().await;

    // From here on the broker hears nothing of the worker: no acknowledgement arrives.
    proxy.freeze_upstream();
    world.earn("ann", 1_500).await;
    world.spend("ann", 200).await;
    world.earn("bob", 5).await;
    world.send(&Raw::of(&command("ann", Action::Exit)).with_body("nonsense")).await;
    world.settled().await;
    worker.kill().await;
    proxy.cut();

    let _successor = world.worker().await;
    world.settled().await;
    let letters = world.dead_letters().await;
    let [letter] = letters.as_slice() else { panic!("dead letters double: {letters:?}") };
    assert_eq!(letter.attempts, 2, "everything was delivered again");
    let story = ["enroll applied = 0", "earn 1500 applied = 1500", "spend 200 applied = 1300"];
    assert_eq!(world.story("ann").await, story);
    assert_eq!(world.count("reward").await, 1);
    assert_eq!(world.parked("bob").await, 1);
    world.verified().await;
}

#[tokio::test]
async fn a_worker_killed_before_its_commit_loses_nothing() {
    let world = World::start().await;
    let worker = world.worker().await;
    world.enroll("ann").await;
    world.settled().await;

    let held = world.hold(NO_COMMITS).await;
    let earn = world.earn("ann", 50).await;
    world.waiting(1).await;
    worker.kill().await;
    // The server would go on with what it was sent, and commit for a worker that is gone.
    world.end_waiting_sessions().await;
    held.release().await;
    assert!(!world.is_in_ledger(earn).await);

    let _successor = world.worker().await;
    world.settled().await;
    assert_eq!(world.story("ann").await, ["enroll applied = 0", "earn 50 applied = 50"]);
    world.verified().await;
}

/// "Single active consumer" is no lock: a worker that lost its connection may still be about to commit when its
/// successor is given the same commands.
#[tokio::test]
async fn a_worker_cut_off_before_its_commit_and_its_successor_do_not_collide() {
    let world = World::start().await;
    let proxy = world.broker_proxy().await;
    let worker = world.worker_through(Way::to_broker(&proxy)).await;
    world.enroll("ann").await;
    world.settled().await;
    let successor = world.worker().await;
    successor.says("Consuming commands").await;

    let held = world.hold(NO_COMMITS).await;
    world.earn("ann", 50).await;
    world.waiting(1).await;
    proxy.refuse().await.expect("a closed port");
    proxy.cut();
    // The successor has the same command now, and waits for the first to be done with the member.
    world.waiting(2).await;
    held.release().await;
    world.settled().await;

    assert_eq!(world.story("ann").await, ["enroll applied = 0", "earn 50 applied = 50"]);
    assert_eq!(world.dead_letters().await, []);
    assert!(!successor.log().contains("refuses"), "the lock comes before the decision:\n{}", successor.log());
    drop(worker);
    world.verified().await;
}
