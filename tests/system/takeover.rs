//! A worker is lost, leaves, or gives a session up, and the next takes over.

use std::collections::BTreeSet;

use loyalty_common::{Command, CommandId, Partition};
use loyalty_tests::{Route, Setup, World, eventually, member_in};

#[tokio::test]
async fn when_a_worker_is_killed_in_mid_stream_the_other_takes_over_in_order() {
    let world = Setup::default().points_expire().start().await;
    let worker = world.worker().await;
    worker.says("Consuming commands").await;
    let successor = world.worker().await;
    successor.says("Consuming commands").await;

    let traffic = world.start_traffic().await;
    world.applies(1_000).await;
    worker.kill().await;
    world.applies(1_000).await;

    let commands = traffic.close(&world).await;
    world.settled().await;
    world.follows(&commands).await;
    assert_eq!(world.dead_letters().await, []);
    world.verified().await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_acknowledges_what_it_applied() {
    let world = World::start().await;
    let worker = world.worker().await;
    let traffic = world.start_traffic().await;
    world.applies(1_000).await;
    let ended = worker.terminate().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let commands = traffic.close(&world).await;

    // Each command is in one place only: decided, or still in its queue.
    let all_in_one_place = async || {
        for partition in Partition::all() {
            let sent: Vec<&Command> = commands.iter().filter(|it| Partition::of(&it.member_id) == partition).collect();
            let acknowledged = sent.len().checked_sub(world.ready(&partition.queue()).await as usize)?;
            let decided: BTreeSet<CommandId> = sent[..acknowledged].iter().map(|it| it.command_id).collect();
            if decided != world.decided_in(partition).await {
                return None;
            }
        }
        Some(())
    };
    eventually("what was decided has left the queues, and nothing else has", all_in_one_place).await;

    let _successor = world.worker().await;
    world.settled().await;
    world.follows(&commands).await;
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
