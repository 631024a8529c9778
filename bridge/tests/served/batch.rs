//! Many commands in one request: each line on its own, in order, and safe to repeat.

use std::time::{Duration, Instant};

use loyalty_bridge::Limits;
use serde_json::{Value, json};

use crate::NO_HEADERS;
use crate::http::{self, Answer, send};
use crate::v1::JSON;
use crate::world::{Running, World, command, with_id};

const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");
const PATH: &str = "/v1/commands/batch";

fn lines(answer: &Answer) -> Vec<Value> {
    answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn statuses(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["status"].as_u64().unwrap()).collect()
}

async fn points(bridge: &Running, member: &str) -> Value {
    send(bridge.addr, "GET", &format!("/v1/members/{member}"), NO_HEADERS, "").await.json()["points"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_harms_no_other_and_each_has_its_result_in_its_place() {
    let world = World::start("batch_lines").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    let id = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11";
    let earn = with_id(id, &command("ann", r#""type":"earn","points":5"#));
    let body = [
        command("ann", r#""type":"enroll""#),
        "nonsense".to_owned(),
        earn.clone(),
        String::new(),
        command("ann", r#""type":"earn","points":0"#),
        earn.clone(),
        earn.replace(":5", ":6"),
        command("ann", r#""type":"earn","points":7"#),
    ];

    let answer = send(bridge.addr, "POST", PATH, &[NDJSON], &body.join("\r\n")).await;

    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
    let said = lines(&answer);
    assert_eq!(statuses(&said), [202, 400, 202, 400, 202, 422, 202], "{}", answer.body);
    let numbers: Vec<_> = said.iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 5, 6, 7, 8], "an empty line is none, and keeps its number");
    assert_eq!((&said[1]["field"], &said[3]["field"]), (&json!("body"), &json!("points")));
    assert_eq!((&said[2]["command_id"], &said[4]["command_id"]), (&json!(id), &json!(id)));
    let last = format!("{}?wait=5", said[6]["location"].as_str().unwrap());
    assert_eq!(send(bridge.addr, "GET", &last, NO_HEADERS, "").await.json()["seq"], json!(3), "in their order");
    assert_eq!(points(&bridge, "ann").await, json!(12));

    // As an array, and again: what is known is answered with its receipt.
    let array = format!("[{earn},5,{}]", earn.replace(":5", ":6"));
    let again = send(bridge.addr, "POST", PATH, &[JSON], &array).await;
    let again: Vec<Value> = serde_json::from_str(&again.body).unwrap();
    assert_eq!(statuses(&again), [200, 400, 422]);
    assert_eq!((&again[0]["replayed"], &again[0]["receipt"]["seq"]), (&json!(true), &json!(2)));
    let other = send(bridge.addr, "POST", PATH, &[NDJSON], &earn.replace(":5", ":6")).await;
    assert_eq!((&other.json()["status"], &other.json()["receipt"]["points"]), (&json!(422), &json!(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_batch_repeated_under_its_key_is_done_once() {
    let world = World::start("batch_key").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    let mut body = vec![command("ann", r#""type":"enroll""#)];
    // The same text a thousand times is a thousand purchases.
    body.extend((1..1_000).map(|_| command("ann", r#""type":"earn","points":1"#)));
    let (body, key) = (body.join("\n"), ("Idempotency-Key", "closing 7"));

    let first = lines(&send(bridge.addr, "POST", PATH, &[NDJSON, key], &body).await);
    assert_eq!(statuses(&first), [202; 1_000]);
    let last = format!("{}?wait=5", first[999]["location"].as_str().unwrap());
    assert_eq!(send(bridge.addr, "GET", &last, NO_HEADERS, "").await.json()["seq"], json!(1_000));
    let again = lines(&send(bridge.addr, "POST", PATH, &[NDJSON, key], &body).await);
    assert_eq!(statuses(&again), [200; 1_000]);
    assert_eq!(points(&bridge, "ann").await, json!(999));

    let more = format!("{body}\n{}", command("ann", r#""type":"earn","points":1"#));
    let refused = send(bridge.addr, "POST", PATH, &[NDJSON], &more).await;
    assert_eq!((refused.status, refused.text("field")), (400, "body"));
    assert_eq!(points(&bridge, "ann").await, json!(999));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_queue_is_full_each_line_says_whether_it_was_taken() {
    let world = World::start("batch_full").await;
    // Nobody works, so nobody waits for a receipt.
    let bridge = world.bridge(Limits { waiters: 0, ..Limits::default() }).await;
    world.small_queue_for("ann", 10).await;
    // Ann's queue is full after a few; bob's is another.
    let body: Vec<String> =
        (0..100).flat_map(|_| ["ann", "bob"]).map(|id| command(id, r#""type":"earn","points":1"#)).collect();

    let mut confirmed = 0;
    let refused = loop {
        let said = lines(&send(bridge.addr, "POST", PATH, &[NDJSON], &body.join("\n")).await);
        assert!(said.iter().skip(1).step_by(2).all(|line| line["status"] == json!(202)), "bob is not concerned");
        confirmed += said.iter().step_by(2).filter(|line| line["status"] == json!(202)).count();
        if let Some(refused) = said.into_iter().find(|line| line["status"] == json!(503)) {
            break refused;
        }
    };

    assert_eq!(refused["code"], json!("queue_full"));
    let began = Instant::now();
    let key = ("Idempotency-Key", "till 7, receipt 991");
    let requests = [("/v1/commands", body[0].as_str()), ("/ann/add_points/1", "")];
    for (path, body) in requests {
        let single = send(bridge.addr, "POST", path, &[JSON, key], body).await;
        assert_eq!((single.status, single.text("code")), (503, "queue_full"), "{}", single.body);
        assert_eq!(single.header("retry-after"), Some("2"));
    }
    assert!(began.elapsed() < Duration::from_secs(2), "at once");
    assert_eq!(world.messages_of("ann").await, confirmed, "what was said to be taken, and no more");

    // There is room again, and the same request is the same command.
    for (path, body) in requests {
        let single = send(bridge.addr, "POST", path, &[JSON, key], body).await;
        assert_eq!(single.status, 202, "{}", single.body);
    }
    assert_eq!(world.messages_of("ann").await, requests.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_batch_too_many_is_turned_away_at_once() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits { batches: 0, ..Limits::default() }).await;
    let refused = send(bridge.addr, "POST", PATH, &[NDJSON], &command("ann", r#""type":"enroll""#)).await;
    assert_eq!((refused.status, refused.text("code")), (503, "busy"));
    http::eventually(bridge.addr, "/readyz", 200).await;
}
