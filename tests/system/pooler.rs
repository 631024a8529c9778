//! A pooler before the database: one that gives each connection its session is nothing special, one that shares them is
//! refused by whoever would come to harm. The real PgBouncer; skipped, loudly, where it is missing.

use std::path::Path;

use loyalty_local::{PgBouncer, PoolMode};
use loyalty_tests::program::Ended;
use loyalty_tests::{Route, Setup, World, eventually};

/// What a pooler or a server says of clients that do not behave.
const COMPLAINTS: [&str; 5] = ["WARNING", "ERROR", "FATAL", "PANIC", "unexpected EOF"];

#[tokio::test]
async fn behind_a_pooler_with_a_session_for_each_connection_all_is_as_ever_and_nobody_complains() {
    let world = Setup::default().own_database().events().start().await;
    let Some(pooler) = world.pooler(PoolMode::Session).await else { return };
    // Of the start, and of the harness.
    let before = complaints(&world.postgres().log());
    let by_pooler = || Route::by_pooler(&pooler);
    let (worker, bridge) = tokio::join!(world.worker_through(by_pooler()), world.bridge_through(by_pooler()));
    eventually("the bridge is ready", async || (bridge.get("/readyz").await.status == 200).then_some(())).await;
    assert_eq!(bridge.post("/ann?email=ann@shop.example").await.status, 201);
    assert_eq!(bridge.post("/ann/add_points/1000").await.status, 200);
    world.mailed().await;
    for args in [&["verify"][..], &["member", "show", "ann"], &["emails", "list"], &["dead-letters", "list"]] {
        let ended = world.loyalty_through(args, by_pooler()).await.end().await;
        assert_eq!(ended.code, Some(0), "{args:?}: {}{}", ended.output, ended.log);
    }

    for ended in [worker.terminate().await, bridge.into_program().terminate().await] {
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(!ended.log.contains("A transaction was given up"), "{}", ended.log);
    }
    pooler.stop().await;
    assert_eq!(complaints(&pooler.log()), [] as [&str; 0]);
    assert_eq!(complaints(&world.postgres().log()), before);
}

#[tokio::test]
async fn behind_a_pooler_that_shares_sessions_every_command_ends_at_once_and_says_what_to_change() {
    let world = World::start().await;
    let Some(pooler) = world.pooler(PoolMode::Transaction).await else { return };
    for args in [
        &["worker"][..],
        &["bridge", "--http", "127.0.0.1:0"],
        &["migrate"],
        &["verify"],
        &["member", "show", "ann"],
        &["dead-letters", "replay", "--all", "--yes"],
        &["import", "points.csv", "--member", "member", "--amount", "paid", "--rate", "1"],
    ] {
        refused(&format!("{args:?}"), &ended(&world, &pooler, args).await);
    }
}

#[tokio::test]
async fn a_pooler_that_shares_sessions_is_refused_when_it_can_be_reached_at_last() {
    let world = World::start().await;
    let Some(pooler) = world.pooler(PoolMode::Transaction).await else { return };
    pooler.stop().await;
    let by_pooler = || Route::by_pooler(&pooler);
    let (worker, bridge) = tokio::join!(world.worker_through(by_pooler()), world.bridge_through(by_pooler()));
    // They wait for the database.
    worker.says("Connected to RabbitMQ").await;

    pooler.start_again().await.expect("the pooler starts");
    let (worker, bridge) = tokio::join!(worker.end(), bridge.into_program().end());
    refused("worker", &worker);
    refused("bridge", &bridge);
}

async fn ended(world: &World, pooler: &PgBouncer, args: &[&str]) -> Ended {
    std::fs::write(world.dir().join("points.csv"), "member,paid\nann,5\n").expect("a file");
    world.loyalty_through(args, Route::by_pooler(pooler)).await.end().await
}

fn refused(what: &str, ended: &Ended) {
    assert_eq!(ended.code, Some(2), "{what}: {}{}", ended.output, ended.log);
    let errors: Vec<&str> = ended.log.lines().filter(|line| line.starts_with("error: ")).collect();
    let [error] = errors[..] else { panic!("{what}: one error\n{}", ended.log) };
    assert!(error.contains("set `pool_mode = session`"), "{what}: {error}");
}

fn complaints(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).expect("a log");
    text.lines().filter(|line| COMPLAINTS.iter().any(|word| line.contains(word))).map(str::to_owned).collect()
}
