//! The bridge against real servers and a real worker, over sockets.

// A test that cannot go on should stop where it stands.
#![allow(clippy::unwrap_used)]

mod batch;
mod blocked;
mod browser;
mod clock;
mod http;
mod openapi;
mod partitions;
mod refused;
mod tokens;
mod untimely;
mod v1;
mod wire;
mod world;
mod wrong;

use std::time::{Duration, Instant};

use http::send;
use loyalty_bridge::Limits;
use loyalty_local::Proxy;
use serde_json::json;
use world::{World, command};

pub(crate) const NO_HEADERS: &[(&str, &str)] = &[];

#[tokio::test(flavor = "multi_thread")]
async fn the_five_requests_that_users_know_get_the_answers_that_they_know() {
    let world = World::start("five").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);

    let enrolled = send(bridge.addr, "POST", "/123", NO_HEADERS, "").await;
    assert_eq!((enrolled.status, enrolled.text("message")), (201, "Resource created successfully for user ID: 123"));
    let added = send(bridge.addr, "POST", "/123/add_points/1000", NO_HEADERS, "").await;
    assert_eq!((added.status, added.text("message")), (200, "1000 added to user id: 123"));
    assert_eq!((added.text("status"), &added.json()["points"]), ("applied", &json!(1_000)));
    let spent = send(bridge.addr, "POST", "/123/spend_points/10", NO_HEADERS, "").await;
    assert_eq!((spent.status, spent.text("message")), (200, "10 spent from user id: 123"));
    let member = send(bridge.addr, "GET", "/123", NO_HEADERS, "").await;
    let expected = json!({"user_id": 123, "points": 990, "member_id": "123", "status": "active",
        "lifetime_points": 1_000, "epoch": 1});
    assert_eq!((member.status, member.json()), (200, expected));
    let left = send(bridge.addr, "DELETE", "/123/exit", NO_HEADERS, "").await;
    assert_eq!((left.status, left.text("message")), (200, "User id: 123 exited the program."));
    assert_eq!(send(bridge.addr, "GET", "/124", NO_HEADERS, "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_repeated_under_its_key_is_answered_again_and_done_once() {
    let world = World::start("keys").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    let key = &[("Idempotency-Key", "till-7-receipt-991")];
    let person = r#"{"email":"ann@example.com","name":"Ann"}"#;
    send(bridge.addr, "POST", "/ann", &[("Idempotency-Key", "e1"), ("Content-Type", "application/json")], person).await;

    let first = send(bridge.addr, "POST", "/ann/add_points/50", key, "").await;
    let again = send(bridge.addr, "POST", "/ann/add_points/50", key, "").await;

    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(first.json(), again.json(), "the first receipt stands");
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), (None, Some("true")));
    let other = send(bridge.addr, "POST", "/ann/add_points/60", key, "").await;
    assert_eq!((other.status, other.text("code")), (422, "idempotency_key_reused"));
    let other = send(bridge.addr, "POST", "/ann/spend_points/50", key, "").await;
    assert_eq!((other.status, other.text("code")), (422, "idempotency_key_reused"));
    // The key is scoped to the member.
    let bob = send(bridge.addr, "POST", "/bob", key, "").await;
    assert_eq!(bob.status, 201);
    // A person's data is compared as well, without being kept.
    let headers = &[("Idempotency-Key", "e1"), ("Content-Type", "application/json")];
    let same = send(bridge.addr, "POST", "/ann", headers, person).await;
    assert_eq!((same.status, same.header("idempotent-replayed")), (201, Some("true")));
    let moved = send(bridge.addr, "POST", "/ann", headers, r#"{"email":"ann@example.org","name":"Ann"}"#).await;
    assert_eq!((moved.status, moved.text("code")), (422, "idempotency_key_reused"));
    assert!(moved.text("message").contains("another email"), "{}", moved.body);
    assert_eq!(send(bridge.addr, "GET", "/ann", NO_HEADERS, "").await.json()["points"], json!(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_at_once_under_one_key_are_one() {
    let world = World::start("at_once").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    send(bridge.addr, "POST", "/ann", NO_HEADERS, "").await;
    let id = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11";
    let asking = (0..10).map(|_| {
        let addr = bridge.addr;
        tokio::spawn(async move { send(addr, "POST", "/ann/add_points/7", &[("Idempotency-Key", id)], "").await })
    });
    let mut replayed = 0;
    for asked in asking.collect::<Vec<_>>() {
        let answer = asked.await.unwrap();
        assert_eq!((answer.status, answer.text("command_id")), (200, id), "a UUID is the command id itself");
        assert_eq!(answer.json()["points"], json!(7));
        replayed += usize::from(answer.header("idempotent-replayed") == Some("true"));
    }
    assert_eq!(replayed, 9, "all but the first say that they have its answer");
    let metrics = send(bridge.addr, "GET", "/metrics", NO_HEADERS, "").await.body;
    assert!(metrics.contains("loyalty_bridge_published_total{outcome=\"confirmed\"} 2\n"), "{metrics}");
    assert_eq!(send(bridge.addr, "GET", "/ann", NO_HEADERS, "").await.json()["points"], json!(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_a_conflict_and_what_waits_is_accepted() {
    let world = World::start("refused").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);

    let early = send(bridge.addr, "POST", "/ann/add_points/50", &[("Idempotency-Key", "early")], "").await;
    assert_eq!((early.status, early.text("status")), (202, "parked"));
    let place = early.header("location").unwrap().to_owned();
    assert_eq!(send(bridge.addr, "GET", &place, NO_HEADERS, "").await.status, 202);
    // Its key is used up as well.
    let other = send(bridge.addr, "POST", "/ann/add_points/51", &[("Idempotency-Key", "early")], "").await;
    assert_eq!(other.status, 422, "{}", other.body);

    assert_eq!(send(bridge.addr, "POST", "/ann", NO_HEADERS, "").await.status, 201);
    let receipt = send(bridge.addr, "GET", &place, NO_HEADERS, "").await;
    assert_eq!((receipt.status, receipt.text("outcome"), &receipt.json()["seq"]), (200, "applied", &json!(2)));
    let twice = send(bridge.addr, "POST", "/ann", NO_HEADERS, "").await;
    assert_eq!((twice.status, twice.text("code")), (409, "already_member"));
    let poor = send(bridge.addr, "POST", "/ann/spend_points/51", &[("Idempotency-Key", "poor")], "").await;
    assert_eq!((poor.status, poor.text("code"), &poor.json()["points"]), (409, "insufficient_points", &json!(50)));
    // Final, even when there is enough.
    send(bridge.addr, "POST", "/ann/add_points/50", NO_HEADERS, "").await;
    let poor = send(bridge.addr, "POST", "/ann/spend_points/51", &[("Idempotency-Key", "poor")], "").await;
    assert_eq!((poor.status, poor.header("idempotent-replayed")), (409, Some("true")));
    let unknown = format!("/ann/commands/{}", uuid::Uuid::nil());
    assert_eq!(send(bridge.addr, "GET", &unknown, NO_HEADERS, "").await.text("code"), "no_such_command");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_worker_the_answer_says_where_to_ask_later() {
    let world = World::start("no_worker").await;
    let limits = Limits { receipt_wait: Duration::from_millis(300), ..Limits::default() };
    let bridge = world.bridge(limits).await;
    let json = &[("Content-Type", "application/json")];
    let reason = r#"{"reason":"order 991","source_ref":"order:991"}"#;
    let began = Instant::now();

    let enrolled = send(bridge.addr, "POST", "/a%2Fb", NO_HEADERS, "").await;
    let accepted = send(bridge.addr, "POST", "/a%2Fb/add_points/5", json, reason).await;

    assert_eq!((enrolled.status, accepted.status, accepted.text("status")), (202, 202, "accepted"));
    assert!(began.elapsed() >= Duration::from_millis(600), "it waited for each");
    let place = accepted.header("location").unwrap().to_owned();
    assert!(place.starts_with("/a%2Fb/commands/"), "{place}");
    assert_eq!(send(bridge.addr, "GET", &place, NO_HEADERS, "").await.text("code"), "no_such_command");

    let _worker = world.worker().await;
    let receipt = http::eventually(bridge.addr, &place, 200).await;
    assert_eq!((receipt.text("member_id"), receipt.text("reason")), ("a/b", "order 991"));
    assert_eq!(receipt.text("source_ref"), "order:991");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_its_waiters_the_bridge_answers_at_once() {
    let world = World::start("waiters").await;
    let limits = Limits { waiters: 0, receipt_wait: Duration::from_secs(60), ..Limits::default() };
    let bridge = world.bridge(limits).await;
    assert_eq!(send(bridge.addr, "POST", "/ann", NO_HEADERS, "").await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_away_nothing_is_done_and_it_says_so() {
    let world = World::start_alone("no_broker").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    assert_eq!(send(bridge.addr, "POST", "/ann", NO_HEADERS, "").await.status, 201);
    assert_eq!(send(bridge.addr, "GET", "/readyz", NO_HEADERS, "").await.status, 200);

    world.rabbitmq().stop().await;
    http::eventually(bridge.addr, "/readyz", 503).await;
    let began = Instant::now();
    let refused = send(bridge.addr, "POST", "/ann/add_points/5", &[("Idempotency-Key", "k")], "").await;
    assert_eq!((refused.status, refused.text("code")), (503, "broker_away"));
    assert_eq!(refused.header("retry-after"), Some("2"));
    let earn = command("ann", r#""type":"earn","points":5"#);
    for path in ["/v1/commands", "/v1/commands/batch"] {
        let body = if path.ends_with("batch") { format!("[{earn},5]") } else { earn.clone() };
        let refused = send(bridge.addr, "POST", path, &[v1::JSON], &body).await;
        assert_eq!((refused.status, refused.text("code")), (503, "broker_away"), "{path}");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "at once, not after a timeout");
    // What is in the database can be read all the while.
    assert_eq!(send(bridge.addr, "GET", "/ann", NO_HEADERS, "").await.status, 200);

    world.rabbitmq().start_again().await.unwrap();
    http::eventually(bridge.addr, "/readyz", 200).await;
    let repeated = send(bridge.addr, "POST", "/ann/add_points/5", &[("Idempotency-Key", "k")], "").await;
    assert!([200, 202].contains(&repeated.status), "{}", repeated.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_confirm_it_says_neither_yes_nor_no() {
    let world = World::start("no_confirm").await;
    let proxy = Proxy::start(([127, 0, 0, 1], world.rabbitmq().port()).into()).await.unwrap();
    let (confirm_timeout, receipt_wait) = (Duration::from_secs(1), Duration::from_millis(300));
    let limits = Limits { confirm_timeout, receipt_wait, ..Limits::default() };
    let (bridge, _worker) = (world.bridge_through(&proxy, limits).await, world.worker().await);
    // So short a wait may be over before the worker has begun: any of its answers will do, if the member comes.
    send(bridge.addr, "POST", "/ann", NO_HEADERS, "").await;
    http::eventually(bridge.addr, "/ann", 200).await;

    proxy.freeze_upstream();
    let key = &[("Idempotency-Key", "k")];
    let unsure = send(bridge.addr, "POST", "/ann/add_points/5", key, "").await;
    assert_eq!((unsure.status, unsure.text("status")), (202, "unconfirmed"));

    let earn = command("ann", r#""type":"earn","points":5"#);
    let single = send(bridge.addr, "POST", "/v1/commands", &[v1::JSON], &earn).await;
    assert_eq!((single.status, single.text("code")), (503, "unconfirmed"));
    assert_eq!((single.header("retry-after"), single.text("command_id").len()), (Some("2"), 36));
    let batch = send(bridge.addr, "POST", "/v1/commands/batch", &[v1::JSON], &format!("[{earn}]")).await;
    assert_eq!((batch.status, &batch.json()[0]["code"]), (200, &json!("unconfirmed")));

    proxy.thaw();
    http::eventually(bridge.addr, unsure.header("location").unwrap(), 200).await;
    let repeated = send(bridge.addr, "POST", "/ann/add_points/5", key, "").await;
    assert_eq!((repeated.status, &repeated.json()["points"]), (200, &json!(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_commands_are_still_taken() {
    let world = World::start_alone("no_database").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    assert_eq!(send(bridge.addr, "POST", "/ann", NO_HEADERS, "").await.status, 201);

    world.postgres().stop().await;
    let key = &[("Idempotency-Key", "k")];
    let first = send(bridge.addr, "POST", "/ann/add_points/5", key, "").await;
    let again = send(bridge.addr, "POST", "/ann/add_points/5", key, "").await;
    assert_eq!((first.status, again.status), (202, 202), "{}", again.body);
    assert_eq!(send(bridge.addr, "GET", "/ann", NO_HEADERS, "").await.text("code"), "database_away");
    let ready = send(bridge.addr, "GET", "/readyz", NO_HEADERS, "").await;
    assert!(ready.status == 503 && ready.body.contains("PostgreSQL"), "{}", ready.body);

    world.postgres().start_again().await.unwrap();
    let receipt = http::eventually(bridge.addr, first.header("location").unwrap(), 200).await;
    assert_eq!(receipt.json()["balance_after"], json!(5));
    // Published twice, applied once.
    let repeated = send(bridge.addr, "POST", "/ann/add_points/5", key, "").await;
    assert_eq!((repeated.status, repeated.header("idempotent-replayed")), (200, Some("true")));
    assert_eq!(send(bridge.addr, "GET", "/ann", NO_HEADERS, "").await.json()["points"], json!(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_bridge_answers_what_is_under_way_and_takes_no_more() {
    let world = World::start("stopping").await;
    let bridge = world.bridge(Limits { receipt_wait: Duration::from_secs(1), ..Limits::default() }).await;
    let addr = bridge.addr;
    let under_way = tokio::spawn(async move { send(addr, "POST", "/ann", NO_HEADERS, "").await });
    // It waits for its receipt, which nobody writes.
    http::eventually_text(addr, "/metrics", "loyalty_bridge_waiting 1").await;

    bridge.stop().await;

    assert_eq!(under_way.await.unwrap().status, 202);
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_no_end_of_a_head_is_cut_off() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits { head_timeout: Duration::from_millis(300), ..Limits::default() }).await;
    assert_eq!(http::raw(bridge.addr, "GET /123 HTTP/1.1\r\nHost: localhost\r\n").await, "", "slow");
    let wide = format!("GET /123 HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    assert!(http::raw(bridge.addr, &wide).await.starts_with("HTTP/1.1 431"), "wide");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_no_end_of_a_body_is_answered_all_the_same() {
    let world = World::untouched().await;
    let short = Duration::from_millis(300);
    let slow = world.bridge(Limits { body_timeout: short, ..Limits::default() }).await;
    let long = world.bridge(Limits { request_timeout: short, ..Limits::default() }).await;
    for path in ["/ann", "/v1/commands", "/v1/commands/batch"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
        );
        let said = http::raw(slow.addr, &head).await;
        assert!(said.starts_with("HTTP/1.1 408") && said.contains("too_slow"), "{path}: {said}");
        let said = http::raw(long.addr, &head).await;
        assert!(said.starts_with("HTTP/1.1 503") && said.contains("took_too_long"), "{path}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_an_answer_is_cut_off() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits { write_timeout: Duration::from_millis(300), ..Limits::default() }).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // The system would make room for some megabytes.
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(bridge.addr).await.unwrap();
    let asking = async {
        // The longest answer that there is.
        let requests = "GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
        // Until the answers fill every buffer between us, and it gives up.
        while tokio::io::AsyncWriteExt::write_all(&mut stream, requests.as_bytes()).await.is_ok() {}
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("the connection is closed");
}
