//! The producer against a real `RabbitMQ`: one private node for all tests of this file, a virtual host for each.

// A test that cannot go on should stop where it stands.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use loyalty_producer::{
    Action, Command, CommandId, ConnectionState, Earn, Exit, Limits, Points, Producer, PublishError, Summary,
    WhenBlocked,
};
use tokio::sync::watch;
use world::World;

/// Short, for tests that wait for it to pass.
fn impatient() -> Limits {
    Limits { confirm_timeout: Duration::from_secs(3), ..Limits::default() }
}

/// A command for the `number`th of `members` members.
fn earn(number: usize, members: usize) -> Command {
    let member = format!("member-{}", number % members).parse().unwrap();
    Command::new(member, Action::Earn(Earn { points: Points::try_new(1).unwrap() }))
}

fn ids(commands: &[Command]) -> Vec<CommandId> {
    commands.iter().map(|command| command.command_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_is_in_the_queue_of_its_member_in_order() {
    let world = World::start("in_order").await;
    world.declare_topology().await;
    let producer = world.producer(Limits::default()).await;
    let commands: Vec<Command> = (0..2_000).map(|number| earn(number, 50)).collect();

    let published: Vec<_> = producer.publish_all(stream::iter(commands.clone())).collect().await;

    assert!(published.iter().all(|published| published.result.is_ok()));
    let answered: Vec<CommandId> = published.iter().map(|published| published.command_id).collect();
    assert_eq!(answered, ids(&commands), "one answer a command, in their order");
    assert_eq!(by_member(world.drain_commands().await), by_member(commands), "each member's in the order sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_leads_nowhere_is_told_from_its_neighbours() {
    let world = World::start("unroutable").await;
    let producer = world.producer(Limits::default()).await;
    // One of two members has a queue. "ann" is of partition 3, "BOB" of 10.
    world.declare_queue_for("03", i64::MAX).await;
    let command = |number: usize| {
        let member = if number.is_multiple_of(3) { "BOB" } else { "ann" };
        Command::new(member.parse().unwrap(), Action::Exit(Exit))
    };

    let published: Vec<_> = producer.publish_all(stream::iter((0..10_000).map(command))).collect().await;

    // Told by the member, not by the order in which confirms and returns come back.
    for published in &published {
        let unroutable = Err(PublishError::Unroutable { exchange: "loyalty.commands", routing_key: "10".to_owned() });
        match published.member_id.as_str() {
            "ann" => assert!(published.result.is_ok(), "{:?}", published.result),
            _ => assert_eq!(published.result, unroutable),
        }
    }
    let mut summary = Summary::default();
    summary.extend(published);
    assert_eq!((summary.confirmed, summary.failed), (6_666, 3_334));
    assert_eq!(world.drain("loyalty.commands.03").await.len(), 6_666);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_topology_a_command_is_refused_at_once() {
    let world = World::start("no_exchange").await;
    let producer = world.producer(Limits::default()).await;
    let refused = producer.publish(&earn(0, 1)).await.unwrap_err();
    assert!(matches!(refused, PublishError::Unroutable { .. }), "{refused}");
    assert!(!refused.may_arrive());
    // The broker closed the channel over it; the next one finds a new one.
    world.declare_topology().await;
    producer.publish(&earn(0, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_that_is_refused_for_certain_is_in_a_queue_when_the_exchange_goes_in_mid_stream() {
    let world = World::start("exchange_goes").await;
    let producer = world.producer(impatient()).await;
    world.declare_topology().await;
    let (gone, is_gone) = watch::channel(false);
    let publishing = tokio::spawn(async move {
        let mut sent = Vec::new();
        for number in 0.. {
            let command = earn(number, 50);
            match producer.submit(&command).await {
                Ok(unconfirmed) if !*is_gone.borrow() => sent.push((command.command_id, unconfirmed)),
                Ok(_) | Err(_) => break,
            }
        }
        let confirming = sent.into_iter().map(async |(id, unconfirmed)| (id, unconfirmed.confirmed().await));
        futures_util::future::join_all(confirming).await
    });
    let some = async || (!world.drain_commands().await.is_empty()).then_some(());
    // What was taken out here was confirmed before; it is not looked for below.
    loyalty_local::wait::eventually("commands arrive", some).await;

    world.delete_exchange().await;
    gone.send_replace(true);
    let published = publishing.await.unwrap();

    let stored: HashSet<CommandId> = ids(&world.drain_commands().await).into_iter().collect();
    let errors = published.iter().filter_map(|(id, result)| Some((*id, result.as_ref().err()?)));
    let refused: Vec<_> = errors.collect();
    assert!(!refused.is_empty(), "the exchange went too late");
    for (command_id, error) in refused {
        assert!(error.may_arrive() || !stored.contains(&command_id), "{command_id} is stored: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_says_so() {
    let world = World::start("full").await;
    let producer = world.producer(Limits::default()).await;
    world.declare_queue_for("03", 10).await;

    // A quorum queue lets a few more in than its bound.
    let mut confirmed = 0;
    let refused = loop {
        match producer.publish(&Command::new("ann".parse().unwrap(), Action::Exit(Exit))).await {
            Ok(_) if confirmed < 1_000 => confirmed += 1,
            Ok(_) => panic!("the queue is never full"),
            Err(error) => break error,
        }
    };

    assert_eq!(refused, PublishError::QueueFull { exchange: "loyalty.commands", routing_key: "03".to_owned() });
    assert!(!refused.may_arrive());
    assert_eq!(world.drain("loyalty.commands.03").await.len(), confirmed, "what was confirmed, and no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_restart_in_mid_stream_loses_nothing_and_keeps_the_order() {
    let world = World::start_alone("restart").await;
    world.declare_topology().await;
    let producer = world.producer(Limits { window: 200, ..Limits::default() }).await;
    let commands: Vec<Command> = (0..6_000).map(|number| earn(number, 50)).collect();

    let mut published = std::pin::pin!(producer.publish_all(stream::iter(commands.clone())));
    let mut confirmed = 0;
    let mut restarting = std::pin::pin!(world.node().restart());
    // The first confirms show that the stream runs; then both go on together.
    while confirmed < 500 {
        confirmed += usize::from(published.next().await.expect("more").result.is_ok());
    }
    let (restarted, rest) = tokio::join!(&mut restarting, published.collect::<Vec<_>>());

    restarted.expect("the node comes back");
    let lost: Vec<_> = rest.iter().filter_map(|published| published.result.as_ref().err()).collect();
    assert!(lost.is_empty(), "all confirmed, in spite of the restart: {} not, first {:?}", lost.len(), lost[0]);
    let arrived = by_member(world.drain_commands().await);
    assert_eq!(without_repeats(arrived), by_member(commands), "every command, in the order sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_short_of_memory_is_reported_as_blocked_until_it_recovers() {
    let world = World::start_alone("blocked").await;
    world.declare_topology().await;
    let producer = world.producer(Limits::default()).await;
    let mut link = producer.connection();

    world.node().set_memory_alarm(true).await.unwrap();
    // The broker says nothing of it before something is published.
    let unconfirmed = producer.submit(&earn(0, 1)).await.unwrap();
    link.wait_for(|link| matches!(link, ConnectionState::Blocked(_))).await.unwrap();

    world.node().set_memory_alarm(false).await.unwrap();
    link.wait_for(|link| *link == ConnectionState::Up).await.unwrap();
    unconfirmed.confirmed().await.unwrap();
    assert_eq!(world.drain_commands().await.len(), 1, "it had time to wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_when_blocked_is_told_at_once_and_knows_what_may_still_arrive() {
    let world = World::start_alone("gives_up").await;
    world.declare_topology().await;
    let (confirm_timeout, when_blocked) = (Duration::from_secs(3_600), WhenBlocked::FailFast);
    let limits = Limits { confirm_timeout, when_blocked, ..Limits::default() };
    let (silent, busy) = (world.producer(limits).await, world.producer(limits).await);
    let until_blocked = tokio::spawn({
        let producer = busy.clone();
        async move { publish_without_a_pause(&producer).await }
    });

    world.node().set_memory_alarm(true).await.unwrap();
    let (confirmed, unsure) = until_blocked.await.unwrap();
    let open = match &unsure {
        PublishError::TimedOut { connection: ConnectionState::Blocked(_) } => usize::from(unsure.may_arrive()),
        // On a busy machine there may have been a pause all the same.
        PublishError::Blocked { .. } => 0,
        other => panic!("{other}"),
    };
    // Even the first after a silence; later ones find somebody waiting before them, and are not even handed over.
    for producer in [&silent, &busy] {
        let commands = stream::iter((0..3).map(|number| earn(number, 1)));
        let refused: Vec<_> =
            producer.publish_all(commands).map(|published| published.result.unwrap_err()).collect().await;
        let blocked = |refused: &PublishError| matches!(refused, PublishError::Blocked { .. });
        assert!(refused.len() == 3 && refused.iter().all(|error| blocked(error) && !error.may_arrive()), "{refused:?}");
    }

    world.node().set_memory_alarm(false).await.unwrap();
    for producer in [&silent, &busy] {
        producer.connection().wait_for(|link| *link == ConnectionState::Up).await.unwrap();
        producer.publish(&earn(0, 1)).await.unwrap();
    }
    let known = confirmed + 2;
    let arrived = world.drain_commands().await.len();
    assert!((known..=known + open).contains(&arrived), "{arrived} arrived, {known} are known, {open} may have");
}

/// What lasts some milliseconds by default lasts long here: an alarm comes within it, whatever the machine does.
#[tokio::test(flavor = "multi_thread")]
async fn the_one_command_by_which_an_alarm_is_noticed_may_arrive_and_what_is_refused_after_it_never_does() {
    let world = World::start_alone("soon_after_a_confirm").await;
    world.declare_topology().await;
    let long = Duration::from_secs(3_600);
    let limits =
        Limits { confirm_timeout: long, when_blocked: WhenBlocked::FailFast, fresh: long, ..Limits::default() };
    let producer = world.producer(limits).await;
    let [before, unsure, refused, refused_too, after] = std::array::from_fn(|number| earn(number, 1));
    producer.publish(&before).await.unwrap();

    world.node().set_memory_alarm(true).await.unwrap();
    let told = producer.publish(&unsure).await.unwrap_err();
    assert!(
        matches!(told, PublishError::TimedOut { connection: ConnectionState::Blocked(_) }) && told.may_arrive(),
        "{told}"
    );
    for command in [&refused, &refused_too] {
        let told = producer.publish(command).await.unwrap_err();
        assert!(matches!(told, PublishError::Blocked { .. }) && !told.may_arrive(), "{told}");
    }

    world.node().set_memory_alarm(false).await.unwrap();
    producer.connection().wait_for(|link| *link == ConnectionState::Up).await.unwrap();
    producer.publish(&after).await.unwrap();
    assert_eq!(ids(&world.drain_commands().await), ids(&[before, unsure, after]));
}

/// So that one is on its way when the broker stops taking them: how many were confirmed before, and what became of it.
async fn publish_without_a_pause(producer: &Producer) -> (usize, PublishError) {
    let mut confirmed = 0;
    loop {
        match producer.publish(&earn(0, 1)).await {
            Ok(_) => confirmed += 1,
            Err(error) => return (confirmed, error),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_reported_as_disconnected() {
    let world = World::start_alone("away").await;
    world.declare_topology().await;
    let producer = world.producer(impatient()).await;
    let mut link = producer.connection();

    world.node().stop().await;
    // Noticed without publishing anything.
    link.wait_for(|link| matches!(link, ConnectionState::Down(_))).await.unwrap();
    let refused = producer.publish(&earn(0, 1)).await.unwrap_err();
    assert!(matches!(refused, PublishError::Disconnected { .. }) && !refused.may_arrive(), "{refused}");

    world.node().start_again().await.unwrap();
    link.wait_for(|link| *link == ConnectionState::Up).await.unwrap();
    producer.publish(&earn(1, 1)).await.unwrap();
    assert_eq!(world.drain_commands().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_closes_when_the_last_handle_is_dropped() {
    let world = World::start("closes").await;
    world.declare_topology().await;
    let producer = world.producer(Limits::default()).await;
    let mut link = producer.connection();
    let unconfirmed = producer.submit(&earn(0, 1)).await.unwrap();
    drop(producer);
    // What is under way is finished first.
    unconfirmed.confirmed().await.unwrap();
    let ended = async { while link.changed().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the task ends");
}

#[tokio::test]
async fn an_unreachable_broker_is_a_clear_error() {
    let nobody = loyalty_producer::SecretUrl::known("amqp://ann:s3cret@127.0.0.1:1/shop");
    let error = Producer::connect(nobody, "test", Limits::default()).await.unwrap_err().to_string();
    assert!(error.starts_with("there was no connection to RabbitMQ within 12 seconds"), "{error}");
    assert!(error.contains("127.0.0.1:1") && !error.contains("s3cret"), "{error}");
}

fn by_member(commands: Vec<Command>) -> HashMap<String, Vec<CommandId>> {
    let mut by_member: HashMap<String, Vec<CommandId>> = HashMap::new();
    for command in commands {
        by_member.entry(command.member_id.to_string()).or_default().push(command.command_id);
    }
    by_member
}

fn without_repeats(mut by_member: HashMap<String, Vec<CommandId>>) -> HashMap<String, Vec<CommandId>> {
    for ids in by_member.values_mut() {
        let mut seen = HashSet::new();
        ids.retain(|id| seen.insert(*id));
    }
    by_member
}
