//! Holds whose time the bridge says, repeated when it has run out: only who asks whether they came before can tell.

use loyalty_bridge::Limits;
use serde_json::{Value, json};

use crate::http::send;
use crate::v1::{JSON, WAIT};
use crate::world::{Running, World, command, with_id};

const ID: &str = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11";

/// A hold that has run out, dated by its sender or not.
fn hold(occurred_at: &str) -> String {
    format!(r#""type":"hold","points":30,"expires_at":"2026-01-02T00:00:00Z"{occurred_at}"#)
}

const IN_TIME: &str = r#","occurred_at":"2026-01-01T00:00:00Z""#;

/// Somebody who has 100 points since before the hold.
async fn has_points(bridge: &Running) {
    for rest in [
        r#""type":"enroll","occurred_at":"2025-12-01T00:00:00Z""#,
        r#""type":"earn","points":100,"occurred_at":"2025-12-01T00:00:00Z""#,
    ] {
        let body = command("ann", rest);
        assert_eq!(send(bridge.addr, "POST", "/v1/commands", &[JSON, WAIT], &body).await.status, 200);
    }
}

/// The status and the code of each line.
async fn batch(bridge: &Running, lines: &[String]) -> Vec<(Value, Value)> {
    let form = ("Content-Type", "application/x-ndjson");
    let answer = send(bridge.addr, "POST", "/v1/commands/batch", &[form], &lines.join("\n")).await;
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        (line["status"].clone(), line["code"].clone())
    };
    answer.body.lines().map(read).collect()
}

fn statuses(lines: &[(Value, Value)]) -> Vec<u64> {
    lines.iter().map(|(status, _)| status.as_u64().unwrap()).collect()
}

/// The guard: the key is looked up before the time is looked at, which is ours where the client left it out.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_repeated_after_it_ran_out_has_its_first_answer() {
    let world = World::start("v1_late_repeat").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    has_points(&bridge).await;
    let post = async |rest: &str| {
        let key = ("Idempotency-Key", ID);
        send(bridge.addr, "POST", "/v1/commands", &[JSON, WAIT, key], &command("ann", rest)).await
    };
    let unknown = post(&hold("")).await;
    assert_eq!((unknown.status, unknown.text("field")), (400, "expires_at"), "it never came in time");
    let first = post(&hold(IN_TIME)).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let again = post(&hold("")).await;
    assert_eq!((again.status, again.json()), (200, first.json()));
    let other = post(&hold("").replace("30", "31")).await;
    assert_eq!((other.status, other.text("code")), (422, "idempotency_key_reused"));

    let lines = [with_id(ID, &command("ann", &hold(""))), command("ann", &hold(""))];
    assert_eq!(statuses(&batch(&bridge, &lines).await), [200, 400]);
}

/// The guard: whoever cannot ask says neither that it came before nor that it did not.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_nobody_knows_whether_a_late_hold_is_a_repeat() {
    let world = World::start_alone("v1_late_unknown").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    world.postgres().stop().await;
    let (late, in_time) = (with_id(ID, &command("ann", &hold(""))), command("ann", &hold(IN_TIME)));
    let single = send(bridge.addr, "POST", "/v1/commands", &[JSON], &late).await;
    assert_eq!((single.status, single.text("code")), (503, "database_away"), "{}", single.body);
    let lines = batch(&bridge, &[late, in_time]).await;
    assert_eq!(statuses(&lines), [503, 202]);
    assert_eq!(lines[0].1, json!("database_away"));
    // One whose id is fresh repeats nothing, whoever is away.
    let fresh = send(bridge.addr, "POST", "/v1/commands", &[JSON], &command("ann", &hold(""))).await;
    assert_eq!((fresh.status, fresh.text("field")), (400, "expires_at"));
    world.postgres().start_again().await.unwrap();
}

/// The guard: which of them comes first in the batch does not matter.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_lines_of_one_hold_the_one_in_time_is_published() {
    let world = World::start("v1_late_line").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    has_points(&bridge).await;
    let line = |occurred_at: &str| with_id(ID, &command("ann", &hold(occurred_at)));
    let (late, in_time) = (line(""), line(IN_TIME));
    let other = late.replace("30", "31");
    let lines = batch(&bridge, &[late.clone(), late.clone(), in_time, other, late]).await;
    assert_eq!(statuses(&lines), [202, 202, 202, 422, 202]);
    let place = format!("/v1/members/ann/commands/{ID}?wait=5");
    let receipt = send(bridge.addr, "GET", &place, &[], "").await;
    assert_eq!((receipt.status, receipt.text("outcome")), (200, "applied"), "{}", receipt.body);
}
