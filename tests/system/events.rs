//! What other systems hear of: each event once it is true, in order per member, and nothing that is nobody's business.

use std::collections::BTreeSet;

use lapin::types::{AMQPValue, FieldTable, ShortString};
use loyalty_common::{Action, Change, Enroll, EventType, Update};
use loyalty_tests::event_listener::ReceivedEvent;
use loyalty_tests::publish::command;
use loyalty_tests::{Life, Setup, World, eventually};

/// An event in words: `points.earned 2: 1200 = 1200 of 1200`.
fn story(heard: &[ReceivedEvent]) -> Vec<String> {
    let told = |event: &ReceivedEvent| {
        let [seq, delta, balance, lifetime] = ["seq", "delta", "balance", "lifetime"].map(|it| event.number(it));
        format!("{} {seq}: {delta} = {balance} of {lifetime}", event.key)
    };
    heard.iter().map(told).collect()
}

#[tokio::test]
async fn each_kind_of_event_is_told_with_what_it_says() {
    let world = Setup::default().events().points_expire().start().await;
    world.listen("all", &["#"]).await;
    world.listen("rewards", &["reward.*"]).await;
    let _worker = world.worker().await;
    let name = "Ann Example".parse().ok();
    world.earn("ann", 1_200).await; // Waits for the enrolment, which tells of it.
    let email = "ann@example.com".parse().ok();
    let enrolment = command("ann", Action::Enroll(Enroll { email, name }));
    world.publish(&enrolment).await;
    world.publish(&enrolment).await; // A repeat is nothing new.
    world.spend("ann", 200).await;
    let refused = world.spend("ann", 5_000).await;
    let update = Update::try_new(Change::Clear, Change::Keep).expect("a change");
    world.ask("ann", Action::Update(update)).await;
    world.exit("ann").await;
    world.terminate("ann").await;
    // Two rounds of a life have what ann's has not.
    world.publish_all(&Life::new("bob", 0).take(50).collect::<Vec<_>>()).await;
    world.settled().await;
    world.events_published().await;

    let heard: Vec<ReceivedEvent> = world.received_events("all").await;
    // A warning is no row of the ledger, and is tried apart.
    let kinds = EventType::ALL.iter().filter(|kind| **kind != EventType::PointsExpiring);
    let kinds: BTreeSet<&str> = kinds.map(|kind| kind.as_str()).collect();
    assert_eq!(heard.iter().map(|event| event.key.as_str()).collect::<BTreeSet<_>>(), kinds);
    let of_ann: Vec<ReceivedEvent> = heard.iter().filter(|it| it.body["member_id"] == "ann").cloned().collect();
    let expected = [
        "member.enrolled 1: 0 = 0 of 0",
        "points.earned 2: 1200 = 1200 of 1200",
        "reward.granted 2: 0 = 1200 of 1200",
        "points.spent 3: -200 = 1000 of 1200",
        "command.refused 4: 0 = 1000 of 1200",
        "member.updated 5: 0 = 1000 of 1200",
        "member.exited 6: -1000 = 0 of 1200",
        "member.terminated 7: 0 = 0 of 1200",
    ];
    assert_eq!(story(&of_ann), expected);
    assert_eq!(of_ann[4].text("code"), "insufficient_points");
    assert_eq!((of_ann[4].text("command_id"), of_ann[4].number("points")), (refused.to_string().as_str(), 5_000));
    assert_eq!(of_ann[2].body["reward"]["title"], "free coffee");
    assert_eq!(of_ann[1].text("command_id"), world.ledger_ids("ann").await[1].to_string());
    // Times are told as the ledger has them.
    let times = "ledger where member_id = 'ann' and seq = 2 and (occurred_at, recorded_at) = ($1, $2)";
    let times =
        times.replace("$1", &sql_text(&of_ann[1], "occurred_at")).replace("$2", &sql_text(&of_ann[1], "recorded_at"));
    assert_eq!(world.count(&times).await, 1);
    world.received_in_order(&heard).await;
    let mut rewards = world.received_events("rewards").await;
    rewards.retain(|event| event.body["member_id"] == "ann");
    assert_eq!(story(&rewards), expected[2..3]);

    for event in &heard {
        assert_is_a_message_of_the_contract(event);
        let body = event.body.to_string();
        assert!(!body.contains("example.com") && !body.contains("Ann Example"), "{body}");
    }
}

/// A time of an event, as SQL spells it.
fn sql_text(event: &ReceivedEvent, field: &str) -> String {
    format!("timestamptz '{}'", event.text(field))
}

fn assert_is_a_message_of_the_contract(event: &ReceivedEvent) {
    let text = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().to_owned());
    assert_eq!(event.message_id(), event.text("event_id"));
    assert_eq!(event.key, event.text("type"));
    let properties = &event.properties;
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(text(properties.kind()).as_deref(), Some("loyalty.event.v1"));
    assert_eq!(text(properties.content_type()).as_deref(), Some("application/json"));
    assert_eq!(text(properties.app_id()).as_deref(), Some("loyalty"));
    assert!(properties.timestamp().is_some_and(|seconds| seconds > 0));
}

/// Two workers tell in turns: neither tells what the other has told.
#[tokio::test]
async fn two_workers_tell_each_event_once_and_in_order() {
    let world = Setup::default().events().start().await;
    world.listen("all", &["#"]).await;
    let (one, other) = (world.worker().await, world.worker().await);
    one.says("Consuming commands").await;
    other.says("Consuming commands").await;
    let mut traffic = world.start_traffic().await;
    traffic.continues(4_000).await;
    traffic.close(&world).await;
    world.settled().await;
    world.events_published().await;
    let heard = world.received_events("all").await;
    world.received_in_order(&heard).await;
    let rows = world.count("ledger").await + world.count("reward").await;
    assert_eq!(i64::try_from(heard.len()), Ok(rows), "nothing was told twice");
}

/// The hardest for the order: the queue takes this event and not that one, since it has room again each moment.
#[tokio::test]
async fn a_listener_who_refuses_events_hears_all_of_them_in_order_later_and_holds_up_no_email() {
    let world = Setup::default().events().start().await;
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), AMQPValue::LongLongInt(3));
    full.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    world.listen_with("full", &["#"], full).await;
    let worker = world.worker().await;
    let members = ["ann", "bob", "cid", "dan"];
    world.enroll_with_email("ann", "ann@example.com").await;
    for member in members {
        world.enroll(member).await;
    }
    for member in (0..200).flat_map(|_| members) {
        world.earn(member, 10).await;
    }
    world.settled().await;
    worker.says("is full").await;
    world.mailed().await;
    assert!(world.count("event_outbox").await > 0, "they wait");

    let hearing = world.start_listening("full").await;
    world.events_published().await;
    let taken = async || (world.ready("full").await == 0).then_some(());
    eventually("the last events are taken", taken).await;
    world.received_in_order(&hearing.close().await).await;
}

#[tokio::test]
async fn what_is_rolled_back_is_never_told() {
    let world = Setup::default().events().start().await;
    world.listen("all", &["#"]).await;
    let worker = world.worker().await;
    world.enroll("ann").await;
    world.settled().await;

    let lock = world.lock("lock table ledger, parked in share row exclusive mode").await;
    world.earn("ann", 50).await;
    world.waiting(1).await;
    worker.kill().await;
    // The server would go on with what it was sent, and commit for a worker that is gone.
    world.end_waiting_sessions().await;
    lock.release().await;

    // A batch that the database refuses is rolled back too, and what is good in it comes again.
    world.execute("alter table ledger add constraint hateful check (points <> 13)").await.expect("its owner can");
    world.earn("ann", 13).await;
    world.earn("ann", 7).await;
    let _successor = world.worker().await;
    world.settled().await;
    world.events_published().await;
    let heard: Vec<ReceivedEvent> =
        world.received_events("all").await.into_iter().filter(|it| it.body["member_id"] == "ann").collect();
    let expected = ["member.enrolled 1: 0 = 0 of 0", "points.earned 2: 50 = 50 of 50", "points.earned 3: 7 = 57 of 57"];
    assert_eq!(story(&heard), expected);
}

#[tokio::test]
async fn nothing_is_told_while_events_are_switched_off() {
    let world = World::start().await;
    // The exchange stands, as it does after they were switched off again.
    let exchange = r#"{"type":"topic","durable":true}"#;
    world.manage("PUT", "/api/exchanges/{vhost}/loyalty.events", Some(exchange)).await;
    world.listen("all", &["#"]).await;
    let worker = world.worker().await;
    world.enroll("ann").await;
    world.earn("ann", 1_200).await;
    world.settled().await;
    world.mailed().await;
    assert_eq!(world.count("event_outbox").await, 0);
    let ended = worker.terminate().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(world.received_events("all").await.is_empty());
}

/// Neither the exchange nor a listener's binding is called wrong.
#[tokio::test]
async fn the_topology_with_events_stands_as_wanted_and_a_listener_is_welcome() {
    let world = Setup::default().events().start().await;
    world.listen("all", &["#"]).await;
    let checked = world.loyalty(&["topology", "--check"]).await.end().await;
    assert_eq!(checked.code, Some(0), "{}{}", checked.output, checked.log);
    assert!(checked.output.starts_with("All 5 exchanges and 23 queues stand as wanted"), "{}", checked.output);
}
