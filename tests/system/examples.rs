//! The publishers of `examples/` in other languages: what they send is applied and has its receipt, and what the broker
//! does not take they say.

use std::process::Stdio;

use lapin::options::QueueDeleteOptions;
use loyalty_common::topology::UNROUTED;
use loyalty_common::{Action, Command, CommandId, Earn, Exit, Partition, amqp};
use loyalty_tests::publish::command;
use loyalty_tests::{PATIENCE, World, points};
use serde_json::Value;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// A publisher in another language.
#[derive(Clone, Copy, Debug)]
enum Example {
    Python,
    Node,
}

/// What it said.
#[derive(Debug)]
struct ExampleOutput {
    code: Option<i32>,
    output: String,
    error: String,
}

impl Example {
    /// The program that runs it, and the file that it runs.
    fn program(self) -> (&'static str, String) {
        match self {
            Self::Python => (python(), format!("{EXAMPLES}/python/publish.py")),
            Self::Node => (node(), format!("{EXAMPLES}/node/publish.js")),
        }
    }

    async fn publish(self, world: &World, args: &[&str]) -> ExampleOutput {
        let (program, script) = self.program();
        let mut publisher = tokio::process::Command::new(program);
        publisher.arg(script).args(args).env("LOYALTY_AMQP_URL", world.amqp().expose());
        publisher.current_dir(world.dir()).stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(PATIENCE, publisher.output()).await.expect("it ends by itself");
        let ended = ended.unwrap_or_else(|error| panic!("{program}: {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        ExampleOutput { code: ended.status.code(), output: text(&ended.stdout), error: text(&ended.stderr) }
    }

    /// Publishes and answers the id that it prints.
    async fn publishes(self, world: &World, args: &[&str]) -> CommandId {
        let said = self.publish(world, args).await;
        assert_eq!((said.code, said.error.as_str()), (Some(0), ""), "{args:?}");
        let id: CommandId =
            said.output.parse().unwrap_or_else(|_| panic!("it prints an id and nothing else: {said:?}"));
        let member = command(args[0], Action::Exit(Exit));
        world.expect_outcomes_of(&[Command { command_id: id, ..member }]);
        id
    }
}

/// The first on the path may be somebody's own, which does not see Debian's packages.
fn python() -> &'static str {
    let sees_pika = |python: &&str| works(python, &["-c", "import pika"]);
    ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(sees_pika)
        .expect("examples/python needs Python 3 with pika (Debian's python3-pika): `./run need` installs it")
}

fn node() -> &'static str {
    let amqplib = format!("{EXAMPLES}/node/node_modules/amqplib");
    let lacks = "examples/node needs Node 18 or newer (Debian's nodejs) with amqplib: `./run need` installs both";
    assert!(works("node", &["-e", "require(process.argv[1])", &amqplib]), "{lacks}");
    "node"
}

fn works(program: &str, args: &[&str]) -> bool {
    let mut command = std::process::Command::new(program);
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Enrols, earns, repeats that, spends, spends too much, exits.
async fn publishes_what_a_shop_does(example: Example) {
    let world = World::start().await;
    let _worker = world.worker().await;
    let enrolled = example.publishes(&world, &["ann", "enroll"]).await;
    let earned = example.publishes(&world, &["ann", "earn", "50"]).await;
    assert_eq!(example.publishes(&world, &["ann", "earn", "50", &earned.to_string()]).await, earned, "a repeat");
    let spent = example.publishes(&world, &["ann", "spend", "20"]).await;
    let refused = example.publishes(&world, &["ann", "spend", "31"]).await;
    let exited = example.publishes(&world, &["ann", "exit"]).await;
    world.settled().await;
    let story = [
        "enroll applied = 0",
        "earn 50 applied = 50",
        "spend 20 applied = 30",
        "spend 31 insufficient_points = 30",
        "exit applied = 0",
    ];
    assert_eq!(world.story("ann").await, story);
    let mut receipts = Vec::new();
    for id in [enrolled, earned, spent, refused, exited] {
        let receipt = world.loyalty(&["receipt", "ann", &id.to_string(), "--json"]).await.end().await;
        let receipt: Value =
            serde_json::from_str(&receipt.output).unwrap_or_else(|error| panic!("{error}: {receipt:?}"));
        receipts.push(receipt["balance_after"].clone());
    }
    assert_eq!(receipts, [0, 50, 30, 30, 0]);
    assert_eq!(world.dead_letters().await, []);
    world.verified().await;
}

#[tokio::test]
async fn a_publisher_in_python_finds_its_receipts() {
    publishes_what_a_shop_does(Example::Python).await;
}

#[tokio::test]
async fn a_publisher_in_node_finds_its_receipts() {
    publishes_what_a_shop_does(Example::Node).await;
}

#[tokio::test]
async fn the_publishers_hear_that_a_queue_is_full() {
    let world = World::start().await;
    let ann = command("ann", Action::Earn(Earn { points: points(1) }));
    world.replace_queue(&Partition::of(&ann.member_id).queue(), 10).await;
    let producer = world.producer().await;
    // RabbitMQ counts a little late, so that a few more than its bound get in.
    let mut room = 1_000;
    while room > 0 && producer.publish(&ann).await.is_ok() {
        room -= 1;
    }
    for example in [Example::Python, Example::Node] {
        let said = example.publish(&world, &["ann", "earn", "1"]).await;
        assert_eq!((said.code, said.error.as_str()), (Some(1), "the queue is full: repeat it later under the same id"));
    }
}

/// A key without a queue leads to the queue of what nobody takes; only without that one does the message come back.
#[tokio::test]
async fn the_publishers_hear_that_no_queue_takes_a_message() {
    let world = World::start().await;
    let ann = command("ann", Action::Exit(Exit));
    let connection = amqp::connect(&world.amqp(), "tests").await.expect("a connection to the broker");
    let channel = connection.create_channel().await.expect("a channel");
    for queue in [Partition::of(&ann.member_id).queue().as_str(), UNROUTED] {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.expect("no queue");
    }
    amqp::close(&connection).await;
    for example in [Example::Python, Example::Node] {
        let said = example.publish(&world, &["ann", "exit"]).await;
        let why = "no queue takes it: has `loyalty topology` been run?";
        assert_eq!((said.code, said.error.as_str()), (Some(1), why));
    }
}
