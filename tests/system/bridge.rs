//! The bridge as the sample's users know it, and what they did not have.

use loyalty_tests::{Bridge, Route, World, eventually};
use serde_json::json;

/// A bridge that reaches its servers; before that it answers 503.
pub(super) async fn ready(bridge: Bridge) -> Bridge {
    eventually("the bridge is ready", async || (bridge.get("/readyz").await.status == 200).then_some(())).await;
    bridge
}

#[tokio::test]
async fn the_five_requests_of_the_sample_get_its_answers() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let bridge = ready(world.bridge().await).await;

    let answer = bridge.post("/123").await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["message"], "Resource created successfully for user ID: 123");
    let answer = bridge.post("/123/add_points/1060").await;
    assert_eq!((answer.status, &answer.json()["message"]), (200, &json!("1060 added to user id: 123")));
    let answer = bridge.post("/123/spend_points/10").await;
    assert_eq!((answer.status, &answer.json()["message"]), (200, &json!("10 spent from user id: 123")));
    let answer = bridge.get("/123").await;
    assert_eq!((answer.status, &answer.json()["user_id"], &answer.json()["points"]), (200, &json!(123), &json!(1050)));
    let answer = bridge.delete("/123/exit").await;
    assert_eq!((answer.status, &answer.json()["message"]), (200, &json!("User id: 123 exited the program.")));

    assert_eq!(bridge.get("/123").await.json()["status"], "exited");
    world.verified().await;
}

#[tokio::test]
async fn an_answer_tells_the_receipt_as_well() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let bridge = ready(world.bridge().await).await;
    bridge.post_json("/ann", r#"{"email":"ann@example.com","name":"Ann"}"#).await;
    let answer = bridge.post_json("/ann/add_points/1000", r#"{"reason":"order 991","source_ref":"order:991"}"#).await;
    let told = answer.json();
    assert_eq!(
        (&told["status"], &told["points"], &told["receipt"]["seq"]),
        (&json!("applied"), &json!(1000), &json!(2))
    );
    let ledger = world.query("select reason, source_ref from ledger where seq = 2", &[]).await;
    assert_eq!((ledger[0].get(0), ledger[0].get(1)), ("order 991", "order:991"));
    let receipt = bridge.get(&format!("/ann/commands/{}", told["command_id"].as_str().expect("an id"))).await;
    assert_eq!((receipt.status, receipt.json()), (200, told["receipt"].clone()));
    world.mailed().await;
    assert_eq!(world.mailbox.emails()[0].recipient, "ann@example.com");
    world.verified().await;
}

#[tokio::test]
async fn what_the_rules_forbid_is_answered_409_with_its_code() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let bridge = ready(world.bridge().await).await;
    bridge.post("/ann").await;
    let refused = async |answer: loyalty_tests::http::Answer, code: &str| {
        assert_eq!((answer.status, &answer.json()["code"]), (409, &json!(code)));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    };
    refused(bridge.post("/ann").await, "already_member").await;
    refused(bridge.post("/ann/spend_points/1").await, "insufficient_points").await;
    refused(bridge.delete("/nobody/exit").await, "not_a_member").await;
    bridge.delete("/ann/exit").await;
    refused(bridge.post("/ann/add_points/1").await, "exited").await;
    world.verified().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_it_is_published_and_names_its_field() {
    let world = World::start().await;
    let bridge = ready(world.bridge().await).await;
    let wrong = async |answer: loyalty_tests::http::Answer, status: u16, field: &str| {
        assert_eq!((answer.status, &answer.json()["field"]), (status, &json!(field)), "{}", answer.body);
        assert!(!answer.body.contains("smith"), "the answer quotes an address: {}", answer.body);
    };
    for points in ["0", "-5", "1.5", "1000000000001", "abc", "99999999999999999999"] {
        wrong(bridge.post(&format!("/ann/add_points/{points}")).await, 400, "points").await;
        wrong(bridge.post(&format!("/ann/spend_points/{points}")).await, 400, "points").await;
    }
    wrong(bridge.post(&format!("/{}", "x".repeat(65))).await, 400, "member_id").await;
    wrong(bridge.post("/a%20b").await, 400, "member_id").await;
    wrong(bridge.post_json("/ann", r#"{"email":"ann smith@example.com"}"#).await, 400, "email").await;
    wrong(bridge.post_json("/ann", r#"{"emial":"ann.smith@example.com"}"#).await, 400, "emial").await;
    wrong(bridge.post_once("/ann", &"x".repeat(256)).await, 400, "idempotency-key").await;
    assert_eq!(bridge.post_json("/ann", "{").await.status, 400);
    assert_eq!(bridge.post_json("/ann", &format!("{{}}{}", " ".repeat(65 * 1024))).await.status, 413);
    assert_eq!(bridge.send("POST", "/ann", &[("content-type", "text/plain")], Some("{}")).await.status, 415);
    assert_eq!(bridge.get("/ann/nothing/here").await.status, 404);
    assert_eq!(bridge.get("/nobody").await.status, 404);
    let answer = bridge.get("/ann/add_points/5").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    // A worker would apply whatever had slipped through.
    let _worker = world.worker().await;
    world.enroll("ann").await;
    world.settled().await;
    assert_eq!((world.ledger_rows().await, world.dead_letters().await), (1, vec![]));
    world.verified().await;
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_and_changes_nothing() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let bridge = ready(world.bridge().await).await;
    bridge.post("/ann").await;
    let uuid = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11";
    for key in ["till-7-receipt-991", uuid] {
        let first = bridge.post_once("/ann/add_points/50", key).await;
        let again = bridge.post_once("/ann/add_points/50", key).await;
        assert_eq!((first.status, first.header("idempotent-replayed")), (200, None));
        assert_eq!((again.status, again.header("idempotent-replayed")), (200, Some("true")));
        assert_eq!(first.json(), again.json());
        let other = bridge.post_once("/ann/add_points/60", key).await;
        assert_eq!((other.status, &other.json()["code"]), (422, &json!("idempotency_key_reused")));
    }
    assert_eq!(bridge.post_once("/ann/spend_points/500", "too much").await.status, 409);
    bridge.post("/ann/add_points/1000").await;
    assert_eq!(bridge.post_once("/ann/spend_points/500", "too much").await.status, 409, "a refusal is final");
    let story = world.story("ann").await;
    let expected = [
        "enroll applied = 0",
        "earn 50 applied = 50",
        "earn 50 applied = 100",
        "spend 500 insufficient_points = 100",
        "earn 1000 applied = 1100",
    ];
    assert_eq!(story, expected);
    assert_eq!(world.ledger_ids("ann").await[2].to_string(), uuid, "a UUID is the command's id itself");
    assert_eq!(world.dead_letters().await, []);
    world.verified().await;
}

#[tokio::test]
async fn while_the_workers_are_away_a_request_is_accepted_and_applied_later() {
    let world = World::start().await;
    let bridge = ready(world.bridge().await).await;
    let enroll = bridge.post_once("/ann", "first").await;
    assert_eq!((enroll.status, &enroll.json()["status"]), (202, &json!("accepted")));
    let later = enroll.header("location").expect("where to ask again").to_owned();
    assert_eq!(bridge.get(&later).await.status, 404);
    assert_eq!(bridge.post_once("/ann", "first").await.status, 202, "a repeat is welcome");

    let _worker = world.worker().await;
    eventually("it is applied", async || (bridge.get(&later).await.status == 200).then_some(())).await;
    assert_eq!(bridge.get(&later).await.json()["outcome"], "applied");
    assert_eq!(world.story("ann").await, ["enroll applied = 0"]);
    let early = bridge.post("/bob/add_points/5").await;
    assert_eq!((early.status, &early.json()["status"]), (202, &json!("parked")));
    world.verified().await;
}

#[tokio::test]
async fn the_bridge_says_what_it_lacks_and_takes_nothing_that_it_cannot_pass_on() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let (broker, database) = (world.broker_proxy().await, world.database_proxy().await);
    let route = Route { broker: Some(&broker), database: Some(database.addr()), ..Route::default() };
    let bridge = ready(world.bridge_through(route).await).await;
    bridge.post("/ann").await;
    let lacks = async |server: &str| {
        let says = async || {
            let answer = bridge.get("/readyz").await;
            (answer.status == 503 && answer.body.contains(server)).then_some(())
        };
        eventually(&format!("the bridge lacks {server}"), says).await;
    };

    database.refuse().await.expect("a closed port");
    database.cut();
    lacks("PostgreSQL").await;
    let blind = bridge.post_once("/ann/add_points/5", "blind").await;
    assert_eq!(blind.status, 202, "the queue takes it: {}", blind.body);
    assert_eq!(bridge.get("/ann").await.status, 503);
    database.accept().await.expect("an open port");

    broker.refuse().await.expect("a closed port");
    broker.cut();
    lacks("RabbitMQ").await;
    let refused = bridge.post("/ann/add_points/7").await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("broker_away")));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(bridge.get("/healthz").await.status, 200);
    assert!(bridge.get("/metrics").await.body.contains("loyalty_bridge"));
    broker.accept().await.expect("an open port");

    let bridge = ready(bridge).await;
    let known = async || (bridge.post_once("/ann/add_points/5", "blind").await.status == 200).then_some(());
    eventually("what was taken blindly is applied", known).await;
    assert_eq!(world.story("ann").await, ["enroll applied = 0", "earn 5 applied = 5"]);
    let ended = bridge.into_program().terminate().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    world.verified().await;
}
