//! One trace from the client through the bridge, the queues and the batch to the email, and logs that a machine reads.

use lapin::types::AMQPValue;
use loyalty_common::{Action, Earn, Enroll, Exit};
use loyalty_local::Behaviour;
use loyalty_producer::TraceContext;
use loyalty_tests::publish::command;
use loyalty_tests::{Program, Raw, World, eventually, points};
use serde_json::Value;

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn a_trace_goes_from_the_client_through_the_bridge_to_the_end_of_the_email() {
    let world = World::start().await;
    // Every retry carries it on, and the last one ends as a dead letter.
    world.mailbox.set(Behaviour::TransientAtRcpt).await.expect("an open port");
    let worker = in_json(&world).await;
    let bridge = world.bridge().await;
    eventually("the bridge is ready", async || (bridge.get("/readyz").await.status == 200).then_some(())).await;
    world.enroll_with_email("ann", "ann@example.com").await;
    let traced = [("traceparent", TRACEPARENT), ("tracestate", "vendor=1")];
    assert_eq!(bridge.send("POST", "/ann/add_points/1000", &traced, None).await.status, 200);
    world.mailed().await;

    let headers: Value = world.query("select headers from dead_letter", &[]).await[0].get(0);
    assert_eq!(headers["headers"]["traceparent"], TRACEPARENT);
    assert_eq!(headers["headers"]["tracestate"], "vendor=1");
    let lines = lines(&worker);
    let of_trace = lines.iter().filter(|line| line["trace.id"] == TRACE_ID);
    let told: Vec<&str> = of_trace.map(|line| line["message"].as_str().expect("a text")).collect();
    let waits = "An email waits for its next attempt";
    assert_eq!(told, [waits, waits, waits, "Dead-lettered an email"]);
    world.verified().await;
}

#[tokio::test]
async fn what_is_set_aside_is_told_in_json_with_its_trace_and_without_an_address() {
    let world = World::start().await;
    let worker = in_json(&world).await;
    let trace = TraceContext::parse(TRACEPARENT, None).expect("a trace");
    let traced = |raw: Raw| raw.with_properties(|properties| properties.with_headers(trace.headers()));
    world.enroll("ann").await;
    let first = command("ann", Action::Earn(Earn { points: points(5) }));
    world.publish(&first).await;
    world.send(&traced(Raw::of(&first).with("\"points\":5", "\"points\":6"))).await;
    world.send(&traced(Raw::of(&command("bob", Action::Exit(Exit))).with_body("{"))).await;
    let enroll =
        Action::Enroll(Enroll { email: Some("ann.smith@example.com".parse().expect("an address")), name: None });
    world.send(&traced(Raw::of(&command("eve", enroll)).with("example.com", "example@com"))).await;
    let aside = async || {
        let lines = lines(&worker);
        let aside = lines
            .iter()
            .filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with("Dead-lettered a ")));
        let aside: Vec<Value> = aside.cloned().collect();
        (aside.len() == 3).then_some(aside)
    };
    for line in eventually("three are dead letters", aside).await {
        assert_eq!((&line["trace.id"], &line["level"]), (&Value::from(TRACE_ID), &Value::from("INFO")), "{line}");
        assert!(line["queue"].as_str().is_some_and(|queue| queue.starts_with("loyalty.commands.")), "{line}");
        match line["outcome"].as_str() {
            Some("conflict") => {
                assert_eq!(line["command.id"], first.command_id.to_string(), "{line}");
                assert_eq!(line["member.id"], "ann", "{line}");
            }
            Some("dead") => assert!(line["reason"].is_string() && line["error"].is_string(), "{line}"),
            outcome => panic!("{outcome:?} in {line}"),
        }
    }
    assert!(!worker.log().contains("smith"), "an address in the log");
}

#[tokio::test]
async fn a_header_that_is_no_trace_is_no_trace_and_does_no_harm() {
    let world = World::start().await;
    let worker = in_json(&world).await;
    world.enroll("ann").await;
    for wrong in ["", "00-zz-zz-01", &"x".repeat(10_000)] {
        let earn = Raw::of(&command("ann", Action::Earn(Earn { points: points(1) })));
        let mut headers = lapin::types::FieldTable::default();
        headers.insert("traceparent".into(), AMQPValue::LongString(wrong.into()));
        world.send(&earn.with_properties(|properties| properties.with_headers(headers))).await;
    }
    world.settled().await;
    assert_eq!(world.member("ann").await.balance, 3);
    assert!(lines(&worker).iter().all(|line| line["trace.id"].is_null()));
}

async fn in_json(world: &World) -> Program {
    world.loyalty(&["worker", "--log-format", "json"]).await
}

/// What it logged so far. Each line is an object that says when, how grave, who and what; the last may be half written.
fn lines(program: &Program) -> Vec<Value> {
    let log = program.log();
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let line = |line: &str| -> Value {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        for field in ["timestamp", "level", "target", "message"] {
            assert!(value[field].is_string(), "no {field} in {line}");
        }
        value
    };
    whole.lines().map(line).collect()
}
