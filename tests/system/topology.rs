//! What stands on the broker: what RabbitMQ ignores, hides or overrides is found, and the retry schedule can change
//! without losing an email.

use lapin::options::QueueDeleteOptions;
use loyalty_common::amqp;
use loyalty_common::topology::{RetryDelay, Topology};
use loyalty_tests::program::{Ended, Program};
use loyalty_tests::{Route, Setup, World, eventually};
use serde_json::{Value, json};

/// Every argument that a queue of commands should have.
fn of_commands() -> Value {
    json!({
        "x-queue-type": "quorum", "x-overflow": "reject-publish", "x-max-length": 1_000_000, "x-delivery-limit": 200,
        "x-single-active-consumer": true, "x-dead-letter-exchange": "loyalty.dead",
        "x-dead-letter-routing-key": "command", "x-dead-letter-strategy": "at-least-once"
    })
}

#[tokio::test]
async fn a_fresh_topology_stands_as_wanted() {
    let world = World::start().await;
    let checked = check(&world, &[]).await;
    assert_eq!(checked.code, Some(0), "{}{}", checked.output, checked.log);
    assert!(checked.output.starts_with("All 4 exchanges and 23 queues stand as wanted"), "{}", checked.output);
    assert!(!checked.output.contains("Not seen"), "{}", checked.output);
}

/// RabbitMQ takes a misspelt argument without a word.
#[tokio::test]
async fn a_queue_made_by_hand_with_a_misspelt_argument_is_found() {
    let world = World::start().await;
    let mut arguments = of_commands();
    arguments["x-delivery-limt"] = arguments["x-delivery-limit"].take();
    arguments.as_object_mut().expect("an object").remove("x-delivery-limit");
    remake(&world, "loyalty.commands.03", &arguments).await;
    bind(&world, "loyalty.commands", "loyalty.commands.03", "03").await;

    let checked = check(&world, &[]).await;
    assert_eq!(checked.code, Some(1), "{}{}", checked.output, checked.log);
    tells(
        &checked,
        &[
            "queue loyalty.commands.03: x-delivery-limit is not set, wanted 200",
            "queue loyalty.commands.03: x-delivery-limt is 200, which is not expected",
            "messages are given up too early, or one that kills its worker comes for ever",
        ],
    );
    assert_eq!(checked.output.matches("queue loyalty.").count(), 2, "{}", checked.output);
    // What AMQP shows of it is the missing limit alone.
    let by_amqp = check(&world, &["--management-url", ""]).await;
    assert_eq!(by_amqp.code, Some(1), "{}{}", by_amqp.output, by_amqp.log);
    tells(&by_amqp, &["queue loyalty.commands.03: inequivalent arg 'x-delivery-limit'", "Not seen: arguments"]);
    assert!(!by_amqp.output.contains("limt"), "{}", by_amqp.output);
}

/// What only the management API shows is no reason to call it wrong without one, nor to keep silent about it.
#[tokio::test]
async fn what_was_not_looked_at_is_said() {
    let world = World::start().await;
    let mut arguments = of_commands();
    arguments["x-max-lenght"] = json!(5);
    remake(&world, "loyalty.commands.03", &arguments).await;
    let by_amqp = check(&world, &["--management-url", "", "--json"]).await;
    assert_eq!(by_amqp.code, Some(0), "{}{}", by_amqp.output, by_amqp.log);
    let answer: Value = serde_json::from_str(&by_amqp.output).expect("JSON");
    assert_eq!(answer["differences"], json!([]));
    assert!(answer["not_seen"].as_array().is_some_and(|not_seen| not_seen.contains(&json!("bindings"))), "{answer}");
    assert_eq!(check(&world, &[]).await.code, Some(1));
}

#[tokio::test]
async fn a_binding_that_is_missing_or_leads_elsewhere_is_found() {
    let world = World::start().await;
    world.manage("DELETE", "/api/bindings/{vhost}/e/loyalty.commands/q/loyalty.commands.07/07", None).await;
    world.manage("PUT", "/api/queues/{vhost}/audit", Some("{}")).await;
    bind(&world, "loyalty.commands", "audit", "05").await;
    bind(&world, "loyalty.commands", "loyalty.commands.02", "01").await;
    bind(&world, "amq.direct", "audit", "unconcerned").await;

    let checked = check(&world, &["--json"]).await;
    assert_eq!(checked.code, Some(1), "{}{}", checked.output, checked.log);
    let answer: Value = serde_json::from_str(&checked.output).expect("JSON");
    let mut found: Vec<String> = answer["differences"].as_array().expect("a list").iter().map(in_short).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "binding loyalty.commands -> audit (key \"05\"): exists, but is not expected; \
             a copy of each message goes there too, and publishers are refused while it takes none",
            "binding loyalty.commands -> loyalty.commands.02 (key \"01\"): exists, but is not expected; \
             messages come in that were not published as the contract says",
            "binding loyalty.commands -> loyalty.commands.07 (key \"07\"): is missing; \
             what is published with that key is refused, or ends among the unrouted",
        ]
    );
}

/// Arguments and policies stand in different places, and for an overflow it is the policy that holds.
#[tokio::test]
async fn a_policy_that_overrides_an_argument_is_found() {
    let world = World::start().await;
    let policy = json!({"pattern": "^loyalty\\.emails$", "apply-to": "queues",
        "definition": {"overflow": "drop-head", "max-length": 2_000_000}});
    world.manage("PUT", "/api/policies/{vhost}/house", Some(&policy.to_string())).await;
    let operator = |limit: i64, priority: i64| {
        json!({"pattern": "^loyalty\\.commands\\.0[12]", "apply-to": "queues", "priority": priority,
            "definition": {"message-ttl": limit}})
        .to_string()
    };
    world.manage("PUT", "/api/operator-policies/{vhost}/short", Some(&operator(60_000, 2))).await;
    world.manage("PUT", "/api/operator-policies/{vhost}/shadowed", Some(&operator(1_000, 1))).await;

    let applied = async || {
        let checked = check(&world, &[]).await;
        checked.output.contains("policy house").then_some(checked)
    };
    let checked = eventually("RabbitMQ applies the policy", applied).await;
    assert_eq!(checked.code, Some(1), "{}{}", checked.output, checked.log);
    tells(
        &checked,
        &[
            "policy house: makes overflow of loyalty.emails drop-head\n    messages are dropped when the queue is full",
            "operator policy short: makes message-ttl of loyalty.commands.01 60000\n    messages are given up before",
            "operator policy short: makes message-ttl of loyalty.commands.02 60000",
        ],
    );
    assert_eq!(checked.output.matches("policy ").count(), 3, "{}", checked.output);
}

#[tokio::test]
async fn a_retired_retry_queue_drains_and_is_removed() {
    let world = World::start().await;
    let delay = retire(&world, "15s").await;
    put_on(&world, &delay, "an email's request").await;
    // RabbitMQ has not counted yet and tells 0: it must not be believed.
    let drains = topology(&world).await;
    tells(
        &drains,
        &["loyalty.emails.retry.15s is no longer in the retry schedule; emails that leave it when their time is up: 1"],
    );
    assert_eq!(bindings_of(&world, &delay).await, 0);
    let checked = check(&world, &[]).await;
    assert_eq!(checked.code, Some(0), "{}{}", checked.output, checked.log);
    tells(&checked, &["Retired: loyalty.emails.retry.15s"]);

    eventually("the email is due", async || (world.ready("loyalty.emails").await == 1).then_some(())).await;
    let removed = async || {
        let answer = topology(&world).await;
        answer
            .output
            .contains("loyalty.emails.retry.15s was no longer in the retry schedule, and empty: deleted")
            .then_some(())
    };
    eventually("the queue is removed", removed).await;
    let after = topology(&world).await;
    assert_eq!(after.output.trim_end(), "4 exchanges and 23 queues stand");
    assert_eq!(world.ready("loyalty.emails").await, 1);
}

/// A message that expired and that nobody takes is neither ready nor delivered, and lost with its queue all the same.
#[tokio::test]
async fn a_retired_retry_queue_whose_email_is_still_on_its_way_stays() {
    let world = World::start().await;
    let delay: RetryDelay = RetryDelay::parse("9s").expect("a delay");
    let arguments = json!({
        "x-queue-type": "quorum", "x-overflow": "reject-publish", "x-message-ttl": 1,
        "x-dead-letter-exchange": "loyalty.emails", "x-dead-letter-routing-key": "nowhere",
        "x-dead-letter-strategy": "at-least-once"
    });
    make(&world, &delay.queue(), &arguments).await;
    bind(&world, "loyalty.emails", &delay.queue(), &delay.routing_key()).await;
    put_on(&world, &delay, "an email's request").await;
    let stays = topology(&world).await;
    tells(
        &stays,
        &["loyalty.emails.retry.9s is no longer in the retry schedule; emails that leave it when their time is up: 1"],
    );
}

/// The guard: `has_config`. Who types it in another directory must not take the workers' retry queues away.
#[tokio::test]
async fn no_retry_queue_is_retired_without_the_configured_delays() {
    let world = World::start().await;
    let delay = retire(&world, "15s").await;
    let elsewhere = world.dir().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory without a programme");
    let (amqp, management) = (world.amqp(), world.management_url());
    let servers = ["topology", "--amqp-url", amqp.expose(), "--management-url", &management];
    let told = Program::alone(&servers, &elsewhere).await.end().await;
    assert_eq!(told.code, Some(0), "{}{}", told.output, told.log);
    tells(&told, &["Not seen: retry queues that the schedule no longer names: there is no loyalty.toml here"]);
    assert_eq!(bindings_of(&world, &delay).await, 1);
}

/// What is counted in one broker must not be deleted in another, however alike the two look.
#[tokio::test]
async fn a_retired_retry_queue_is_not_removed_by_what_another_broker_counts() {
    let (world, other) = tokio::join!(World::start(), Setup::default().own_broker().start());
    let delay = retire(&world, "15s").await;
    // There, a virtual host of the same name with an empty queue of the same name.
    let vhost = world.vhost();
    other.manage("PUT", &format!("/api/vhosts/{vhost}"), None).await;
    let all = r#"{"configure":".*","write":".*","read":".*"}"#;
    other.manage("PUT", &format!("/api/permissions/{vhost}/loyalty"), Some(all)).await;
    let queue = json!({"durable": true, "arguments": {"x-queue-type": "quorum"}}).to_string();
    other.manage("PUT", &format!("/api/queues/{vhost}/{}", delay.queue()), Some(&queue)).await;

    let told = world.loyalty(&["topology", "--management-url", &other.management_url()]).await.end().await;
    assert_eq!(told.code, Some(2), "{}{}", told.output, told.log);
    assert!(told.log.contains("leads to another broker"), "{}", told.log);
    assert_eq!(bindings_of(&world, &delay).await, 1);
    // Nor is its word taken for how things stand here.
    let checked = check(&world, &["--management-url", &other.management_url()]).await;
    assert_eq!(checked.code, Some(1), "{}{}", checked.output, checked.log);
}

/// Emails must not be taken off their queue as long as one of them may find no retry queue to wait in.
#[tokio::test]
async fn a_worker_whose_retry_queues_are_missing_says_so_and_takes_no_emails() {
    let world = World::start().await;
    delete(&world, "loyalty.emails.retry.2s").await;
    let worker = world.worker().await;
    worker.says("loyalty.emails.retry.2s is missing; run `loyalty topology`").await;
    world.enroll_with_email("ann", "ann@shop.example").await;
    world.earn("ann", 1000).await;
    world.settled().await;
    eventually("its email waits", async || (world.ready("loyalty.emails").await == 1).then_some(())).await;
    assert_eq!(topology(&world).await.code, Some(0));
    world.mailed().await;
}

async fn check(world: &World, more: &[&str]) -> Ended {
    world.loyalty(&[&["topology", "--check"], more].concat()).await.end().await
}

async fn topology(world: &World) -> Ended {
    let ended = world.loyalty(&["topology"]).await.end().await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.output, ended.log);
    ended
}

fn tells(ended: &Ended, expected: &[&str]) {
    for text in expected {
        assert!(ended.output.contains(text), "it does not say {text:?}:\n{}{}", ended.output, ended.log);
    }
}

fn in_short(difference: &Value) -> String {
    let part = |name: &str| difference[name].as_str().expect("text");
    format!("{} {}: {}; {}", part("kind"), part("name"), part("what"), part("breaks"))
}

/// Makes a retry queue of a delay that the world does not configure, as an older configuration did.
async fn retire(world: &World, delay: &str) -> RetryDelay {
    let delay = RetryDelay::parse(delay).expect("a delay");
    let connection = amqp::connect(&world.amqp(), "tests").await.expect("a connection to the broker");
    let channel = connection.create_channel().await.expect("a channel");
    Topology::new(&[delay]).declare(&channel).await.expect("the delay's queue");
    amqp::close(&connection).await;
    delay
}

async fn put_on(world: &World, delay: &RetryDelay, body: &str) {
    let message = json!({"routing_key": delay.routing_key(), "payload": body, "payload_encoding": "string",
        "properties": {"delivery_mode": 2}});
    let path = "/api/exchanges/{vhost}/loyalty.emails/publish";
    let answer = world.manage("POST", path, Some(&message.to_string())).await;
    assert_eq!(answer.json(), json!({"routed": true}));
}

async fn remake(world: &World, queue: &str, arguments: &Value) {
    delete(world, queue).await;
    make(world, queue, arguments).await;
}

async fn make(world: &World, queue: &str, arguments: &Value) {
    let body = json!({"durable": true, "arguments": arguments}).to_string();
    world.manage("PUT", &format!("/api/queues/{{vhost}}/{queue}"), Some(&body)).await;
}

async fn delete(world: &World, queue: &str) {
    let connection = amqp::connect(&world.amqp(), "tests").await.expect("a connection to the broker");
    let channel = connection.create_channel().await.expect("a channel");
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.expect("the queue goes");
    amqp::close(&connection).await;
}

async fn bind(world: &World, exchange: &str, queue: &str, key: &str) {
    let body = json!({ "routing_key": key }).to_string();
    world.manage("POST", &format!("/api/bindings/{{vhost}}/e/{exchange}/q/{queue}"), Some(&body)).await;
}

/// How often a retry queue is bound to something else than the default exchange.
async fn bindings_of(world: &World, delay: &RetryDelay) -> usize {
    let answer = world.manage("GET", &format!("/api/queues/{{vhost}}/{}/bindings", delay.queue()), None).await;
    answer.json().as_array().expect("a list").iter().filter(|binding| binding["source"] != "").count()
}

/// The connection stands, and nothing comes by it any more.
#[tokio::test]
async fn a_broker_that_falls_silent_ends_the_command_with_exit_code_3() {
    let world = World::start().await;
    retire(&world, "15s").await;
    let silent_at = async |args: &[&str], named: &'static str| {
        let proxy = world.broker_proxy().await;
        proxy.freeze_upstream_at(named);
        let ended = world.loyalty_through(args, Route::to_broker(&proxy)).await.end().await;
        assert_eq!(ended.code, Some(3), "{args:?} {named}: {}", ended.log);
        assert!(ended.log.starts_with("error: "), "{args:?} {named}: {}", ended.log);
    };
    // Named in a declaration whose answer never comes: of the first queue, or of the one by which a retired retry queue
    // is looked for.
    tokio::join!(
        silent_at(&["topology"], "loyalty.commands"),
        silent_at(&["topology", "--check"], "loyalty.commands"),
        silent_at(&["topology"], "loyalty.topology."),
    );
}
