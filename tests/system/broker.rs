//! The broker goes away in the middle of the trade and comes back.

use std::time::Instant;

use loyalty_common::backoff::{FIRST, PROVEN_AFTER};
use loyalty_tests::{Route, Setup, World, eventually};

#[tokio::test]
async fn a_broker_that_restarts_and_dies_loses_nothing_and_tells_events_in_order() {
    let world = Setup::default().own_broker().events().start().await;
    world.listen("all", &["#"]).await;
    let worker = world.worker().await;
    let _other = world.worker().await;
    let mut traffic = world.start_traffic().await;
    traffic.continues(2_000).await;
    world.rabbitmq().restart().await.expect("the broker starts again");

    traffic.continues(2_000).await;
    worker.kill().await;
    traffic.continues(1_000).await;
    world.rabbitmq().kill().await;
    world.rabbitmq().start_again().await.expect("the broker starts again");

    traffic.continues(2_000).await;
    let commands = traffic.close(&world).await;
    world.settled().await;
    world.follows(&commands).await;
    assert_eq!(world.dead_letters().await, []);
    world.events_published().await;
    world.received_in_order(&world.received_events("all").await).await;
    world.verified().await;
}

/// The waits before the next attempt would double each time, up to 15 s: the third is longer than the first can be.
#[tokio::test]
async fn a_connection_that_is_lost_again_and_again_after_full_recovery_is_taken_up_as_fast_each_time() {
    let world = World::start().await;
    let proxy = world.broker_proxy().await;
    let worker = world.worker_through(Route::to_broker(&proxy)).await;
    let up = ["Consuming commands", "Consuming emails", "publisher=\"outbox\" unconfirmed"];
    for breaks in 0..4 {
        let recovered = async || {
            let log = worker.log();
            up.iter().all(|text| log.matches(text).count() > breaks).then_some(())
        };
        eventually("everything is connected again", recovered).await;
        let since = Instant::now();
        let proven = async || (since.elapsed() > PROVEN_AFTER).then_some(());
        eventually("it has stood for long enough to be believed to work", proven).await;
        proxy.cut();
    }
    let log = worker.log();
    // Who asks for figures of the queues does so every few seconds, and may be cut off while it is not recovered yet.
    let recovered = log.lines().filter(|line| !line.contains("part=queues"));
    let waits: Vec<u128> =
        recovered.filter_map(|line| line.split_once("wait_ms=")?.1.split_whitespace().next()?.parse().ok()).collect();
    assert!(waits.len() >= 3 * up.len() && waits.iter().all(|wait| *wait <= FIRST.as_millis()), "{waits:?}\n{log}");
}
