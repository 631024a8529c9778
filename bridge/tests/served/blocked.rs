//! A broker that takes nothing for want of memory: every command is refused at once, and none arrives later.

use std::time::Duration;

use loyalty_bridge::Limits;
use serde_json::json;

use crate::NO_HEADERS;
use crate::http::{self, Answer, send};
use crate::v1::JSON;
use crate::world::{Running, World, command};

/// Nothing that the bridge waits for is over within a test, so what is answered is answered at once.
pub(crate) fn endless() -> Limits {
    let long = Duration::from_secs(3_600);
    Limits { confirm_timeout: long, receipt_wait: long, request_timeout: 3 * long, ..Limits::default() }
}

/// One request of each kind.
pub(crate) const REQUESTS: [(&str, &str); 3] = [
    ("/ann/add_points/5", ""),
    ("/v1/commands", r#"{"v":1,"member_id":"ann","type":"earn","points":7}"#),
    ("/v1/commands/batch", r#"[{"v":1,"member_id":"ann","type":"earn","points":11},5]"#),
];

/// What they are worth together.
const POINTS: i64 = 5 + 7 + 11;

/// Sends one of them, always under the same key of its own.
pub(crate) async fn ask(bridge: &Running, (path, body): (&str, &str)) -> Answer {
    send(bridge.addr, "POST", path, &[JSON, ("Idempotency-Key", path)], body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_blocked_every_command_is_refused_at_once_and_none_arrives_later() {
    let world = World::start_alone("blocked").await;
    // The broker says nothing before something is published, so each kind is the first that one of them hears of.
    let bridges = [world.bridge(endless()).await, world.bridge(endless()).await, world.bridge(endless()).await];

    world.rabbitmq().set_memory_alarm(true).await.unwrap();
    for (first, bridge) in bridges.iter().enumerate() {
        for request in REQUESTS.into_iter().cycle().skip(first).take(REQUESTS.len()) {
            let refused = ask(bridge, request).await;
            assert_eq!((refused.status, refused.text("code")), (503, "broker_blocked"), "{first} {}", refused.body);
            assert_eq!(refused.header("retry-after"), Some("2"));
        }
        let not_ready = send(bridge.addr, "GET", "/readyz", NO_HEADERS, "").await;
        assert!(not_ready.status == 503 && not_ready.body.contains("short of memory"), "{}", not_ready.body);
    }

    world.rabbitmq().set_memory_alarm(false).await.unwrap();
    let bob = command("bob", r#""type":"enroll""#);
    for bridge in &bridges {
        http::eventually(bridge.addr, "/readyz", 200).await;
        // Behind all that was refused, if any of that was written to the same connection.
        assert_eq!(send(bridge.addr, "POST", "/v1/commands", &[JSON], &bob).await.status, 202);
    }
    assert_eq!(world.waiting_commands().await, bridges.len(), "nothing but what was accepted");

    let _worker = world.worker().await;
    assert_eq!(send(bridges[0].addr, "POST", "/ann", NO_HEADERS, "").await.status, 201);
    for _ in 0..2 {
        for request in REQUESTS {
            let taken = ask(&bridges[0], request).await;
            assert!([200, 202].contains(&taken.status), "{}", taken.body);
        }
    }
    // Behind them in the same queue.
    let last = send(bridges[0].addr, "POST", "/ann/add_points/1", NO_HEADERS, "").await;
    assert_eq!((last.status, &last.json()["points"]), (200, &json!(POINTS + 1)), "each key counted once");
}
