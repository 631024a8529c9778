//! A worker is lost, leaves, or gives a session up, and the next takes over.

use loyalty_common::Partition;
use loyalty_tests::{Route, World, eventually, member_in};

#[tokio::test]
async fn when_a_worker_is_killed_in_mid_stream_the_other_takes_over_in_order() {
    let world = World::start().await;
    let worker = world.worker().await;
    worker.says("Consuming commands").await;
    let successor = world.worker().await;
    successor.says("Consuming commands").await;

    let traffic = world.start_traffic(40).await;
    world.applies(1_000).await;
    worker.kill().await;
    world.applies(1_000).await;

    let commands = traffic.close(&world).await;
    world.settled().await;
    world.holds_in_order(&commands).await;
    assert_eq!(world.dead_letters().await, []);
    world.verified().await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_acknowledges_what_it_applied() {
    let world = World::start().await;
    let worker = world.worker().await;
    let traffic = world.start_traffic(40).await;
    world.applies(1_000).await;
    let ended = worker.terminate().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let commands = traffic.close(&world).await;

    // Each command is in one place only: applied, or still in its queue.
    let applied = world.ledger_rows().await;
    let all_in_one_place = async || {
        let mut ready = 0;
        for partition in Partition::all() {
            ready += u64::from(world.ready(&partition.queue()).await);
        }
        (applied.cast_unsigned() + ready == commands.len() as u64).then_some(())
    };
    eventually("what was applied has left the queues, and nothing else has", all_in_one_place).await;

    let _successor = world.worker().await;
    world.settled().await;
    world.holds_in_order(&commands).await;
    world.verified().await;
}

/// As when a queue has no majority of its nodes for a while: it answers when the worker has given it up.
#[tokio::test]
async fn a_session_that_was_given_up_while_it_opened_holds_no_partition_later() {
    let world = World::start().await;
    let proxy = world.broker_proxy().await;
    proxy.freeze_upstream_at("loyalty-00");
    let worker = world.worker_through(Route::to_broker(&proxy)).await;
    worker.says("RabbitMQ opened no channel").await;
    proxy.thaw();
    worker.says("Consuming commands").await;

    let member = member_in(Partition::all().next().expect("16 of them"), "ann-");
    world.enroll(member.as_str()).await;
    world.earn(member.as_str(), 50).await;
    world.settled().await;
    world.verified().await;
}
