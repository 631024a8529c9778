//! One queue that is missing or stuck is out alone: all others go on, it is named, and it comes back by itself.

use std::net::SocketAddr;

use lapin::options::QueueDeleteOptions;
use loyalty_common::{Exit, Partition, amqp, topology};
use loyalty_tests::http::Answer;
use loyalty_tests::{Program, Setup, World, eventually, http, member_in};

/// A worker that says over HTTP how it is.
struct Watched {
    program: Program,
    addr: SocketAddr,
}

impl Watched {
    async fn start(world: &World) -> Self {
        let program = world.loyalty(&["worker", "--metrics", "127.0.0.1:0"]).await;
        let addr = program.tells("metrics.address=").await.parse().expect("an address");
        Self { program, addr }
    }

    async fn ready(&self) -> Answer {
        http::send(self.addr, "GET", "/readyz", &[], None).await
    }

    /// Waits until it says that exactly these queues are out, and is ready all the same.
    async fn has_out(&self, queues: &[&str]) {
        let mut last = String::new();
        let out = async || {
            let answer = self.ready().await;
            last.clone_from(&answer.body);
            let named = |queue: &&&str| answer.body.contains(&format!("the queue {queue} is out"));
            let all = queues.iter().filter(named).count() == queues.len();
            let count = answer.body.matches("the queue ").count();
            (answer.status == 200 && all && count == queues.len()).then_some(())
        };
        let found = loyalty_local::wait::within(loyalty_tests::PATIENCE, out).await;
        assert!(found.is_some(), "expected {queues:?} to be out: {last}\n{}", self.program.log());
        for queue in queues {
            let series = format!("loyalty_worker_queue_out{{queue=\"{queue}\"}}");
            let metrics = loyalty_tests::metrics::Metrics::of(self.addr).await;
            assert_eq!(metrics.value(&series), Some(1.0), "{metrics:?}");
        }
    }

    /// How often the log says that this queue went out.
    fn told_out(&self, queue: &str) -> usize {
        let log = self.program.log();
        log.lines().filter(|line| line.contains("A queue is unavailable; retrying") && line.contains(queue)).count()
    }
}

/// Partition 03 and all others.
fn three_and_the_rest() -> (Partition, Vec<Partition>) {
    let (three, rest): (Vec<_>, Vec<_>) = Partition::all().partition(|partition| partition.number() == 3);
    (three[0], rest)
}

async fn delete(world: &World, queue: &str) {
    let connection = amqp::connect(&world.amqp(), "tests").await.expect("a connection to the broker");
    let channel = connection.create_channel().await.expect("a channel");
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.expect("no queue");
    amqp::close(&connection).await;
}

/// Someone of each of these partitions is enrolled, under ids of their own.
async fn applied_in(world: &World, partitions: &[Partition], prefix: &str) {
    for partition in partitions {
        world.enroll(member_in(*partition, prefix).as_str()).await;
    }
    world.settled().await;
}

#[tokio::test]
async fn a_queue_that_is_deleted_is_out_alone_and_comes_back_by_itself() {
    let world = World::start().await;
    let worker = Watched::start(&world).await;
    worker.has_out(&[]).await;
    let (three, rest) = three_and_the_rest();
    applied_in(&world, &rest, "before-").await;

    delete(&world, &three.queue()).await;
    worker.program.says("is missing; run").await;
    worker.has_out(&[&three.queue()]).await;
    applied_in(&world, &rest, "meanwhile-").await;
    assert_eq!(worker.told_out(&three.queue()), 1, "{}", worker.program.log());
    assert!(!worker.program.log().contains("part=commands"), "the session goes on: {}", worker.program.log());

    let declared = world.loyalty(&["topology"]).await.end().await;
    assert_eq!(declared.code, Some(0), "{}", declared.log);
    worker.program.says("A queue is available again").await;
    worker.has_out(&[]).await;
    applied_in(&world, &[three], "after-").await;
    world.verified().await;
}

#[tokio::test]
async fn a_worker_that_starts_while_queues_are_missing_takes_the_others() {
    let world = World::start().await;
    let (three, rest) = three_and_the_rest();
    let delay = "loyalty.emails.retry.2s";
    let missing = [three.queue(), topology::DEAD_COMMANDS.to_owned(), delay.to_owned()];
    for queue in &missing {
        delete(&world, queue).await;
    }
    let worker = Watched::start(&world).await;
    // No email is taken while it could not wait for its next attempt.
    worker.has_out(&[&three.queue(), topology::DEAD_COMMANDS, topology::EMAILS, delay]).await;
    applied_in(&world, &rest, "meanwhile-").await;
    assert!(!worker.program.log().contains("part=commands"), "no session is lost: {}", worker.program.log());
    // What no key leads to is kept although another queue of dead letters is missing.
    let stray = loyalty_tests::Raw::of(&loyalty_tests::publish::command("ann", loyalty_common::Action::Exit(Exit)));
    world.send(&stray.with_key("ninety")).await;
    eventually("the stray message is kept", async || (world.count("dead_letter").await == 1).then_some(())).await;

    let declared = world.loyalty(&["topology"]).await.end().await;
    assert_eq!(declared.code, Some(0), "{}", declared.log);
    worker.has_out(&[]).await;
    world.enroll_with_email("ann", "ann@example.com").await;
    world.earn("ann", 1_000).await;
    world.settled().await;
    eventually("the email is sent", async || (!world.mailbox.emails().is_empty()).then_some(())).await;
}

/// Consuming such a queue makes RabbitMQ 3.10 end the connection with all consumers on it.
#[tokio::test]
async fn queues_that_have_lost_their_leaders_are_out_alone_and_come_back_by_themselves() {
    let world = Setup::default().own_broker().start().await;
    let (three, rest) = three_and_the_rest();
    let stuck = [three.queue(), topology::DEAD_EMAILS.to_owned(), topology::EMAILS.to_owned()];
    for queue in &stuck {
        world.rabbitmq().stop_leader(world.vhost(), queue).await.expect("the leader stops");
    }
    let worker = Watched::start(&world).await;
    worker.has_out(&stuck.each_ref().map(String::as_str)).await;
    applied_in(&world, &rest, "meanwhile-").await;

    for queue in &stuck {
        world.rabbitmq().start_leader(world.vhost(), queue).await.expect("the leader starts");
    }
    worker.has_out(&[]).await;
    applied_in(&world, &[three], "after-").await;
    world.verified().await;
}

/// The worker hears nothing of it: no delivery, and no word that there will be none.
#[tokio::test]
async fn a_queue_that_loses_its_leader_while_it_is_consumed_is_named_and_comes_back_by_itself() {
    let world = Setup::default().own_broker().start().await;
    let worker = Watched::start(&world).await;
    worker.has_out(&[]).await;
    let (three, rest) = three_and_the_rest();
    world.rabbitmq().stop_leader(world.vhost(), &three.queue()).await.expect("the leader stops");
    worker.has_out(&[&three.queue()]).await;
    applied_in(&world, &rest, "meanwhile-").await;

    world.rabbitmq().start_leader(world.vhost(), &three.queue()).await.expect("the leader starts");
    worker.has_out(&[]).await;
    applied_in(&world, &[three], "after-").await;
    world.verified().await;
}
