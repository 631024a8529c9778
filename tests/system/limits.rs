//! Nobody holds more than their bound, whatever waits.

use loyalty_common::topology::COMMANDS;
use loyalty_common::{Action, Earn, Enroll, Partition};
use loyalty_producer::PublishError;
use loyalty_tests::publish::command;
use loyalty_tests::{World, eventually, points, purchases};

/// Unacknowledged commands that a worker may hold of one partition.
const PREFETCH: u32 = 500;

#[tokio::test]
async fn a_worker_holds_no_more_than_its_prefetch() {
    let world = World::start().await;
    // It applies nothing, so what it takes it holds.
    let lock = world.lock("lock table member in access exclusive mode").await;
    let commands: Vec<_> = purchases(1).take(1_210).collect();
    let (first, later) = commands.split_at(1_200);
    world.publish_all(first).await;
    let queue = Partition::of(&commands[0].member_id).queue();
    let _worker = world.worker().await;

    let left = async |count: u32| {
        let what = format!("{count} commands are left in the queue");
        eventually(&what, async || (world.ready(&queue).await == count).then_some(())).await;
    };
    left(1_200 - PREFETCH).await;
    // Not only in passing: what comes now stays.
    world.publish_all(later).await;
    left(1_210 - PREFETCH).await;

    lock.release().await;
    world.settled().await;
    world.holds_in_order(&commands).await;
    world.verified().await;
}

#[tokio::test]
async fn a_full_queue_refuses_its_publisher_and_loses_nothing() {
    let world = World::start().await;
    let ann = command("ann", Action::Enroll(Enroll { email: None, name: None }));
    world.replace_queue(&Partition::of(&ann.member_id).queue(), 10).await;
    world.publish(&ann).await;
    let producer = world.producer().await;
    let mut taken = 1;
    let mut refusal = None;
    // RabbitMQ counts a little late, so that a few more than its bound get in.
    while refusal.is_none() && taken < 1_000 {
        let earn = command("ann", Action::Earn(Earn { points: points(1) }));
        match producer.publish(&earn).await {
            Ok(_) => taken += 1,
            Err(error) => refusal = Some(error),
        }
    }
    let key = Partition::of(&ann.member_id).routing_key();
    assert_eq!(refusal, Some(PublishError::QueueFull { exchange: COMMANDS, routing_key: key }));
    let _worker = world.worker().await;
    let all = async || (world.ledger_rows().await == taken).then_some(());
    eventually("what was taken is applied", all).await;
    world.verified().await;
}
