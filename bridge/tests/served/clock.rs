//! A bridge whose machine's clock is off.

use jiff::{SignedDuration, Timestamp};
use loyalty_bridge::Limits;
use loyalty_local::wait::eventually;
use loyalty_store::clock::Clock;
use serde_json::json;

use crate::NO_HEADERS;
use crate::http::send;
use crate::v1::JSON;
use crate::world::{World, command, with_id};

const AHEAD: Clock = Clock::off_by(SignedDuration::from_hours(3));

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_whose_clock_is_hours_ahead_has_every_purchase_applied_and_says_so() {
    let world = World::start("clock_ahead").await;
    let (bridge, _worker) = (world.bridge_at(AHEAD, Limits::default()).await, world.worker().await);
    assert_eq!(send(bridge.addr, "POST", "/ann", NO_HEADERS, "").await.status, 201);
    assert_eq!(send(bridge.addr, "POST", "/ann/add_points/50", NO_HEADERS, "").await.status, 200);
    let earn = command("ann", r#""type":"earn","points":5"#);
    let applied = send(bridge.addr, "POST", "/v1/commands", &[JSON, ("Prefer", "wait=5")], &earn).await;
    assert_eq!((applied.status, applied.text("outcome")), (200, "applied"));
    send(bridge.addr, "POST", "/v1/commands/batch", &[JSON], &format!("[{earn},{earn}]")).await;
    let points = async || send(bridge.addr, "GET", "/ann", NO_HEADERS, "").await.json()["points"] == json!(65);
    eventually("all is applied", async || points().await.then_some(())).await;

    let ready = send(bridge.addr, "GET", "/readyz", NO_HEADERS, "").await;
    assert_eq!((ready.status, ready.text("status")), (200, "degraded"));
    assert!(ready.body.contains("clock") && ready.body.contains("ahead of the database's"), "{}", ready.body);
    let metrics = send(bridge.addr, "GET", "/metrics", NO_HEADERS, "").await.body;
    let offset = metrics.lines().find_map(|line| line.strip_prefix("loyalty_bridge_clock_offset_seconds "));
    assert!(offset.and_then(|seconds| seconds.parse::<f64>().ok()).is_some_and(|it| it > 10_700.0), "{offset:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ahead_of_its_time_is_set_aside_and_its_id_is_not_used_up() {
    let world = World::start("till_ahead").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    send(bridge.addr, "POST", "/ann", NO_HEADERS, "").await;
    let id = uuid::Uuid::now_v7().to_string();
    let at =
        |time: Timestamp| with_id(&id, &command("ann", &format!(r#""type":"earn","points":5,"occurred_at":"{time}""#)));
    let headers = &[JSON, ("Prefer", "wait=5")];
    let tomorrow = at(Timestamp::now() + SignedDuration::from_hours(24));
    let ahead = send(bridge.addr, "POST", "/v1/commands", headers, &tomorrow).await;
    assert_eq!((ahead.status, ahead.text("state")), (202, "set_aside"), "{}", ahead.body);
    let now = at(Timestamp::now());
    let applied = send(bridge.addr, "POST", "/v1/commands", headers, &now).await;
    assert_eq!((applied.status, applied.text("outcome")), (200, "applied"), "{}", applied.body);
}
