//! Our own interface: commands one by one, and what can be read.

use std::time::{Duration, Instant};

use loyalty_bridge::Limits;
use serde_json::json;

use crate::NO_HEADERS;
use crate::http::{self, send};
use crate::world::{World, command, with_id};

pub(crate) const JSON: (&str, &str) = ("Content-Type", "application/json");
pub(crate) const WAIT: (&str, &str) = ("Prefer", "wait=5");

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_accepted_and_its_receipt_will_be_where_the_answer_says() {
    let world = World::start("v1_accepted").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);

    let enroll = command("a/b", r#""type":"enroll","email":"ann@example.com""#);
    let accepted = send(bridge.addr, "POST", "/v1/commands", &[JSON], &enroll).await;
    assert_eq!((accepted.status, accepted.text("state")), (202, "accepted"), "{}", accepted.body);
    assert_eq!(accepted.header("preference-applied"), None);
    let place = accepted.header("location").unwrap().to_owned();
    assert_eq!(place, format!("/v1/members/a%2Fb/commands/{}", accepted.text("command_id")));

    let receipt = send(bridge.addr, "GET", &format!("{place}?wait=5"), NO_HEADERS, "").await;
    assert_eq!((receipt.status, receipt.text("outcome"), receipt.text("member_id")), (200, "applied", "a/b"));
    // A name that is a path of ours at the first place is a member like any other here.
    let named = send(bridge.addr, "POST", "/v1/commands", &[JSON, WAIT], &command("v1", r#""type":"enroll""#)).await;
    assert_eq!(named.status, 200, "{}", named.body);
    assert_eq!(send(bridge.addr, "GET", "/v1/members/v1", NO_HEADERS, "").await.text("status"), "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_prefers_to_wait_gets_the_receipt_and_gets_it_again() {
    let world = World::start("v1_wait").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    let post = async |headers: &[(&str, &str)], body: &str| {
        send(bridge.addr, "POST", "/v1/commands", &[&[JSON], headers].concat(), body).await
    };
    let enrolled = post(&[WAIT], &command("ann", r#""type":"enroll""#)).await;
    assert_eq!((enrolled.status, enrolled.text("outcome")), (200, "applied"));
    assert_eq!(enrolled.header("preference-applied"), Some("wait=5"));

    // By the id in the body, and by a key.
    let id = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11";
    let earn = with_id(id, &command("ann", r#""type":"earn","points":50"#));
    let spend = command("ann", r#""type":"spend","points":60"#);
    let key = ("Idempotency-Key", "till 7, receipt 991");
    let (earned, refused) = (post(&[WAIT], &earn).await, post(&[WAIT, key], &spend).await);
    assert_eq!((earned.status, earned.text("command_id"), &earned.json()["balance_after"]), (200, id, &json!(50)));
    assert_eq!((refused.status, refused.text("code")), (409, "insufficient_points"));
    assert_eq!(refused.json()["receipt"]["outcome"], json!("refused"));

    // Again, without a wait: they are known.
    let (again, refused_again) = (post(&[], &earn).await, post(&[key], &spend).await);
    assert_eq!((again.status, again.json()), (200, earned.json()));
    assert_eq!((refused_again.status, refused_again.json()), (409, refused.json()));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(refused_again.header("idempotent-replayed"), Some("true"));
    // And what is another command under the same name is none.
    let other = post(&[], &earn.replace("50", "51")).await;
    assert_eq!((other.status, other.text("code")), (422, "idempotency_key_reused"));
    assert_eq!(other.header("idempotent-replayed"), None);
    let other = post(&[key], &spend.replace("60", "10")).await;
    assert_eq!((other.status, other.text("code")), (422, "idempotency_key_reused"));
    assert_eq!(send(bridge.addr, "GET", "/v1/members/ann", NO_HEADERS, "").await.json()["points"], json!(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_while_the_first_is_under_way_is_told_so() {
    let world = World::start("v1_in_flight").await;
    let bridge = world.bridge(Limits::default()).await; // Nobody works, so that the first one waits.
    let addr = bridge.addr;
    let earn = || command("ann", r#""type":"earn","points":5"#);
    let key = ("Idempotency-Key", "k");
    let first = tokio::spawn(async move { send(addr, "POST", "/v1/commands", &[JSON, WAIT, key], &earn()).await });
    http::eventually_text(addr, "/metrics", "loyalty_bridge_waiting 1").await;

    let second = send(addr, "POST", "/v1/commands", &[JSON, key], &earn()).await;
    assert_eq!((second.status, second.text("code")), (409, "in_flight"));
    assert_eq!(second.header("retry-after"), Some("2"));
    let line = send(addr, "POST", "/v1/commands", &[JSON, ("Idempotency-Key", "l")], &earn()).await;
    assert_eq!(line.status, 202, "another key is another command");

    let first = first.await.unwrap();
    assert_eq!((first.status, first.header("preference-applied")), (202, Some("wait=5")));
    let third = send(addr, "POST", "/v1/commands", &[JSON, key], &earn()).await;
    assert_eq!((third.status, third.text("command_id")), (202, first.text("command_id")), "it is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_just_written_reads_it_or_is_told_that_it_is_not_there_yet() {
    let world = World::start("v1_after").await;
    let (bridge, worker) = (world.bridge(Limits::default()).await, world.worker().await);
    let get = async |path: &str| send(bridge.addr, "GET", path, NO_HEADERS, "").await;
    let post = async |body: &str| send(bridge.addr, "POST", "/v1/commands", &[JSON], body).await;
    post(&command("ann", r#""type":"enroll""#)).await;
    let earned = post(&command("ann", r#""type":"earn","points":7"#)).await;

    let member = get(&format!("/v1/members/ann?after_command={}&wait=5", earned.text("command_id"))).await;
    assert_eq!((member.status, &member.json()["points"], &member.json()["version"]), (200, &json!(7), &json!(2)));
    // Known already: no need to wait.
    let ledger = get(&format!("/v1/members/ann/ledger?after_command={}&wait=0", earned.text("command_id"))).await;
    assert_eq!(ledger.json()["items"][1]["points"], json!(7), "{}", ledger.body);
    let parked = post(&command("bob", r#""type":"earn","points":7"#)).await;
    let waits = get(&format!("/v1/members/bob?after_command={}&wait=5", parked.text("command_id"))).await;
    assert_eq!((waits.status, waits.text("code")), (409, "not_applied_yet"));
    assert!(waits.text("detail").contains("enrolment"), "{}", waits.body);
    let parked = get(&format!("/v1/members/bob/commands/{}", parked.text("command_id"))).await;
    assert_eq!((parked.status, parked.text("state")), (202, "parked"));

    worker.stop().await;
    let lost = post(&command("ann", r#""type":"earn","points":7"#)).await;
    let began = Instant::now();
    let not_yet = get(&format!("/v1/members/ann?after_command={}&wait=1", lost.text("command_id"))).await;
    assert_eq!((not_yet.status, not_yet.text("code")), (409, "not_applied_yet"));
    assert!(began.elapsed() >= Duration::from_secs(1), "it waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_page_by_page() {
    let world = World::start("v1_pages").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    let get = async |path: &str| send(bridge.addr, "GET", path, NO_HEADERS, "").await;
    for member in ["ann", "b&b", "carl"] {
        let lines = [r#""type":"enroll""#, r#""type":"earn","points":5"#, r#""type":"earn","points":6"#];
        for line in lines {
            let done = send(bridge.addr, "POST", "/v1/commands", &[JSON, WAIT], &command(member, line)).await;
            assert_eq!(done.status, 200, "{}", done.body);
        }
    }
    send(bridge.addr, "POST", "/v1/commands", &[JSON, WAIT], &command("ann", r#""type":"spend","points":3"#)).await;

    let first = get("/v1/members?limit=2&status=active").await;
    assert_eq!(first.json()["items"][0]["member_id"], json!("ann"), "{}", first.body);
    assert_eq!(first.text("next"), "/v1/members?status=active&limit=2&after=b%26b");
    let rest = get(first.text("next")).await;
    assert_eq!((rest.json()["items"][0]["member_id"].clone(), rest.json().get("next")), (json!("carl"), None));
    let rich = get("/v1/members?points_gte=11").await;
    assert_eq!(rich.json()["items"].as_array().unwrap().len(), 2, "{}", rich.body);
    assert_eq!(get("/v1/members?status=exited").await.json()["items"], json!([]));

    let ledger = get("/v1/members/b%26b/ledger?limit=2").await;
    assert_eq!(ledger.json()["items"][1]["seq"], json!(2));
    let rest = get(ledger.text("next")).await;
    assert_eq!((rest.json()["items"][0]["seq"].clone(), rest.json().get("next")), (json!(3), None));
    assert_eq!(get("/v1/members/nobody/ledger").await.text("code"), "no_such_member");
    assert_eq!(get("/v1/members/nobody").await.text("code"), "no_such_member");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_set_changed_and_cleared_and_another_under_the_same_id_is_told_apart() {
    let world = World::start("v1_update").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    let post = async |body: &str| send(bridge.addr, "POST", "/v1/commands", &[JSON, WAIT], body).await;
    let has_email =
        async || send(bridge.addr, "GET", "/v1/members/ann", NO_HEADERS, "").await.json()["has_email"].clone();
    post(&command("ann", r#""type":"enroll""#)).await;
    let id = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11";
    let set = with_id(id, &command("ann", r#""type":"update","email":"ann@example.com""#));
    let applied = post(&set).await;
    assert_eq!((applied.status, applied.text("type"), &applied.json()["delta"]), (200, "update", &json!(0)));
    assert_eq!(has_email().await, json!(true));

    let again = post(&set).await;
    assert_eq!((again.status, again.json()), (200, applied.json()));
    for other in [set.replace("ann@", "bob@"), set.replace("\"ann@example.com\"", "null")] {
        let other = post(&other).await;
        assert_eq!((other.status, other.text("code")), (422, "idempotency_key_reused"), "{}", other.body);
    }
    assert_eq!(post(&command("ann", r#""type":"update","email":null"#)).await.status, 200);
    assert_eq!(has_email().await, json!(false));
    // The address is gone, and with it what told one from another.
    assert_eq!(post(&set.replace("ann@", "bob@")).await.json(), applied.json());

    let nothing = post(&command("ann", r#""type":"update""#)).await;
    assert_eq!((nothing.status, nothing.text("field")), (400, "email"), "{}", nothing.body);
    let nobody = post(&command("nobody", r#""type":"update","name":"Ann""#)).await;
    assert_eq!((nobody.status, nobody.text("code")), (409, "not_a_member"), "{}", nobody.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn points_are_held_captured_released_and_given_back() {
    let world = World::start("v1_holds").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    let post = async |rest: &str| {
        let answer = send(bridge.addr, "POST", "/v1/commands", &[JSON, WAIT], &command("ann", rest)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    let ann = async || {
        let ann = send(bridge.addr, "GET", "/v1/members/ann", NO_HEADERS, "").await.json();
        ["points", "held", "debt", "lifetime_points"].map(|field| ann[field].as_i64().unwrap())
    };
    let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let hold = format!(r#""type":"hold","points":30,"expires_at":"{tomorrow}""#);
    post(r#""type":"enroll""#).await;
    let earned = post(r#""type":"earn","points":100"#).await;
    let (first, second) = (post(&hold).await, post(&hold).await);
    assert_eq!(ann().await, [40, 60, 0, 100]);
    let about =
        |kind: &str, target: &serde_json::Value| format!(r#""type":"{kind}","target":{}"#, target["command_id"]);
    let holds = send(bridge.addr, "GET", "/v1/members/ann", NO_HEADERS, "").await.json()["holds"].clone();
    assert_eq!((&holds[0]["command_id"], &holds[0]["points"]), (&first["command_id"], &json!(30)));
    post(&about("release", &first)).await;
    let captured = post(&format!(r#"{},"points":20"#, about("capture", &second))).await;
    assert_eq!((&captured["target"], &captured["held_delta"]), (&second["command_id"], &json!(-30)));
    assert_eq!(ann().await, [80, 0, 0, 100]);
    post(&about("reverse", &captured)).await;
    assert_eq!(ann().await, [100, 0, 0, 100]);
    post(r#""type":"spend","points":60"#).await;
    let reversed = post(&about("reverse", &earned)).await;
    assert_eq!((&reversed["delta"], &reversed["debt_delta"]), (&json!(-40), &json!(60)));
    assert_eq!(ann().await, [0, 0, 60, 0]);

    let closed = command("ann", &about("capture", &first));
    let closed = send(bridge.addr, "POST", "/v1/commands", &[JSON, WAIT], &closed).await;
    assert_eq!((closed.status, closed.text("code")), (409, "hold_closed"));
    let late = command("ann", r#""type":"hold","points":30,"expires_at":"2026-01-01T00:00:00Z""#);
    let late = send(bridge.addr, "POST", "/v1/commands", &[JSON], &late).await;
    assert_eq!((late.status, late.text("field")), (400, "expires_at"), "its time is now, which the bridge says");
}

#[tokio::test(flavor = "multi_thread")]
async fn rewards_are_read_page_by_page_and_are_open_until_they_are_redeemed() {
    let world = World::start("v1_rewards").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    let get = async |path: &str| send(bridge.addr, "GET", path, NO_HEADERS, "").await;
    for rest in [r#""type":"enroll""#, r#""type":"earn","points":2500"#, r#""type":"redeem","number":2"#] {
        let done = send(bridge.addr, "POST", "/v1/commands", &[JSON, WAIT], &command("ann", rest)).await;
        assert_eq!(done.status, 200, "{}", done.body);
    }
    let first = get("/v1/members/ann/rewards?limit=1").await.json();
    let reward = &first["items"][0];
    assert_eq!(
        (&reward["number"], &reward["title"], &reward["points"]),
        (&json!(1), &json!("free coffee"), &json!(1000))
    );
    assert_eq!(reward.get("redeemed_at"), None, "it is open");
    assert_eq!(first["next"], json!("/v1/members/ann/rewards?limit=1&after=1"));
    let rest = get(first["next"].as_str().unwrap()).await.json();
    assert_eq!(rest["items"][0]["number"], json!(2));
    assert!(rest["items"][0]["redeemed_at"].is_string(), "{rest}");
    assert_eq!(get("/v1/members/nobody/rewards").await.text("code"), "no_such_member");
}
