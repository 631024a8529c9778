//! Traces as a collector sees them. Only of a binary with the feature `otel`, which is what `./run test` tries.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use loyalty_common::{Action, Command, Earn};
use loyalty_local::Behaviour;
use loyalty_producer::TraceContext;
use loyalty_tests::bridge::Bridge;
use loyalty_tests::collector::{Collector, Span, tree};
use loyalty_tests::publish::command;
use loyalty_tests::{Raw, Route, Setup, World, eventually, points};
use serde_json::Value;
use tokio::net::TcpListener;

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_RECORDED: &str = "00-5cf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// Every span is the child of the one that caused it: a message's of that which published it, whoever did.
const WHOLE: &str = "\
POST /{member_id}/add_points/{points} (server of loyalty-bridge)
  publish loyalty.commands (producer of loyalty-bridge)
    process loyalty.commands (consumer of loyalty-worker)
      publish loyalty.emails (producer of loyalty-worker)
        process loyalty.emails (consumer of loyalty-worker)
          send email (client of loyalty-worker, passing)
          publish loyalty.emails (producer of loyalty-worker)
            process loyalty.emails (consumer of loyalty-worker)
              send email (client of loyalty-worker)
";

#[tokio::test]
async fn one_trace_shows_a_command_from_its_request_to_the_second_attempt_at_its_email() {
    let (world, collector) = (World::start().await, Collector::start().await);
    world.mailbox.set(Behaviour::TransientAtRcpt).await.expect("an open port");
    let url = collector.url();
    let worker = world.worker_through(Route::with(&traces_to(&url))).await;
    let bridge = world.bridge_through(Route::with(&traces_to(&url))).await;
    ready(&bridge).await;
    world.enroll_with_email("ann", "ann.smith@example.com").await;
    world.settled().await;
    let traced = [("traceparent", TRACEPARENT), ("tracestate", "vendor=1")];
    assert_eq!(bridge.send("POST", "/ann/add_points/1000", &traced, None).await.status, 200);
    worker.says("An email waits for its next attempt").await;
    world.mailbox.set(Behaviour::Accept).await.expect("an open port");
    world.mailed().await;

    // The last spans are sent on the way out.
    let (worker, bridge) = (worker.terminate().await, bridge.into_program().terminate().await);
    assert_eq!((worker.code, bridge.code), (Some(0), Some(0)), "{}{}", worker.log, bridge.log);
    let spans = collector.trace(TRACE_ID);
    assert_eq!(tree(&spans, CLIENT), WHOLE);
    assert_eq!(spans.len(), WHOLE.lines().count(), "{spans:#?}");
    let server = named(&spans, "POST /{member_id}/add_points/{points}");
    assert_eq!(server.attributes["http.response.status_code"], "200");
    let process = named(&spans, "process loyalty.commands");
    let said = ["messaging.system", "messaging.operation.type", "messaging.batch.message_count", "loyalty.outcome"];
    assert_eq!(said.map(|key| process.attributes[key].as_str()), ["rabbitmq", "process", "1", "applied"]);
    assert_eq!(process.attributes["messaging.message.id"], process.attributes["loyalty.command.id"]);
    assert_eq!(process.attributes["loyalty.member.id"], "ann");
    assert_eq!(process.attributes["messaging.destination.name"], "loyalty.commands:03:loyalty.commands.03");
    assert_eq!(
        named(&spans, "publish loyalty.commands").attributes["messaging.destination.name"],
        "loyalty.commands:03"
    );
    assert!(!collector.knows("smith"), "an address in a trace");
    assert!(!collector.knows("readyz"), "a health check in a trace");
    world.verified().await;
}

#[tokio::test]
async fn a_trace_begins_where_a_command_comes_in_and_nowhere_else() {
    // An event is published without anybody's trace.
    let (world, collector) = (Setup::default().events().start().await, Collector::start().await);
    let worker = world.worker_through(Route::with(&traces_to(&collector.url()))).await;
    world.enroll("ann.smith@example.com").await;
    world.send(&within(TRACEPARENT, &earn("bob")).with_body("{")).await;
    world.settled().await;
    eventually("events are told", async || (world.count("event_outbox").await == 0).then_some(())).await;
    worker.terminate().await;

    let all = collector.spans();
    let roots: Vec<&Span> = all.iter().map(|(_, span)| span).filter(|span| span.parent.is_empty()).collect();
    assert!(roots.iter().all(|root| root.name == "process loyalty.commands"), "{roots:#?}");
    let enrolled =
        roots.iter().find(|root| root.attributes["loyalty.command.type"] == "enroll").expect("the enrolment");
    assert_eq!((enrolled.kind, &enrolled.failure), ("consumer", &None));
    // Who takes addresses for member ids has them masked as everywhere.
    assert_eq!(enrolled.attributes["loyalty.member.id"], "a***@example.com");
    assert!(!collector.knows("smith"), "an address in a trace");
    let [bad] = &collector.trace(TRACE_ID)[..] else { panic!("one command is part of it: {all:#?}") };
    assert_eq!(
        (bad.attributes["error.type"].as_str(), bad.attributes["loyalty.outcome"].as_str()),
        ("malformed", "dead")
    );
    assert!(bad.failure.is_some());
}

#[tokio::test]
async fn what_its_client_chose_not_to_record_is_not_and_is_sent_on_as_it_came() {
    let (world, collector) = (World::start().await, Collector::start().await);
    world.mailbox.set(Behaviour::PermanentForDomain("gone.example".into())).await.expect("an open port");
    let worker = world.worker_through(Route::with(&traces_to(&collector.url()))).await;
    world.enroll_with_email("ann", "ann@gone.example").await;
    let earn = command("ann", Action::Earn(Earn { points: points(1_000) }));
    world.send(&within(NOT_RECORDED, &earn)).await;
    world.settled().await;
    world.mailed().await;
    worker.terminate().await;
    let headers: Value = world.query("select headers from dead_letter", &[]).await[0].get(0);
    assert_eq!(headers["headers"]["traceparent"], NOT_RECORDED);
    let enrolment = command_ids(&collector);
    assert!(!enrolment.is_empty() && !enrolment.contains(&earn.command_id.to_string()), "{enrolment:?}");
}

#[tokio::test]
async fn who_is_not_let_in_begins_no_trace() {
    let (world, collector) = (World::start().await, Collector::start().await);
    let made = world.operate(&["token", "create", "--scope", "read"]).await;
    let authorization = format!("Bearer {}", made.json["token"].as_str().expect("a token"));
    let bridge = world.bridge_through(Route::with(&traces_to(&collector.url()))).await;
    ready(&bridge).await;
    assert_eq!(bridge.get("/v1/members").await.status, 401);
    assert_eq!(bridge.send("GET", "/v1/members/ann", &[("authorization", &authorization)], None).await.status, 404);
    bridge.into_program().terminate().await;
    let names: Vec<String> = collector.spans().into_iter().map(|(_, span)| span.name).collect();
    assert_eq!(names, ["GET /v1/members/{member_id}"]);
}

#[tokio::test]
async fn what_goes_back_to_the_broker_was_given_up() {
    let (world, collector) = (World::start().await, Collector::start().await);
    let (proxy, url) = (world.database_proxy().await, collector.url());
    let worker = world.worker_through(Route { variables: &traces_to(&url), ..Route::to_database(&proxy) }).await;
    world.enroll("ann").await;
    world.settled().await;
    proxy.refuse().await.expect("a closed port");
    proxy.cut();
    world.send(&within(TRACEPARENT, &earn("ann"))).await;
    worker.says("Cannot commit a batch; retrying").await;
    worker.terminate().await;
    let [given_up] = &collector.trace(TRACE_ID)[..] else { panic!("one span: {:#?}", collector.spans()) };
    assert_eq!(
        (given_up.name.as_str(), given_up.attributes["error.type"].as_str()),
        ("process loyalty.commands", "given_up")
    );
}

#[tokio::test]
async fn while_the_collector_is_away_points_go_on_and_a_service_ends_in_time() {
    let world = World::start().await;
    // Connections to it are taken, and nothing is ever answered.
    let hangs = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let addr = hangs.local_addr().expect("an address");
    let url = format!("http://{addr}");
    let worker = world.worker_through(Route::with(&traces_to(&url))).await;
    let impatient = [&traces_to(&url)[..], &[("OTEL_EXPORTER_OTLP_TIMEOUT", "500")]].concat();
    let bridge = world.bridge_through(Route::with(&impatient)).await;
    ready(&bridge).await;
    world.enroll("ann").await;
    // More than the queue of spans takes.
    let earn = r#"{"v":1,"member_id":"ann","type":"earn","points":1}"#;
    let lines = format!("[{}]", [earn; 1_000].join(","));
    let headers = [("traceparent", TRACEPARENT), ("content-type", "application/json")];
    for _ in 0..3 {
        // A machine that is busy with other tests may not read the tokens in time; nothing is done then.
        let sent = async || bridge.send("POST", "/v1/commands/batch", &headers, Some(&lines)).await.status == 200;
        eventually("a thousand commands are taken", async || sent().await.then_some(())).await;
    }
    const ALL: &str = "select from member where member_id = 'ann' and balance = 3000";
    let applied = async || (!world.query(ALL, &[]).await.is_empty()).then_some(());
    eventually("all points are there", applied).await;

    let began = Instant::now();
    let worker = worker.terminate().await;
    assert_eq!(worker.code, Some(0), "{}", worker.log);
    // Three seconds for what is left, and a slow machine. The collector would be given ten for each of four requests.
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    bridge.says("The collector does not accept traces").await;
    drop(hangs);
    let collector = Collector::start_at(addr).await;
    // What was recorded meanwhile may be lost; what is from now on is not.
    let taken = async || {
        bridge.send("GET", "/v1/members/ann", &headers[..1], None).await;
        (!collector.trace(TRACE_ID).is_empty()).then_some(())
    };
    eventually("traces are taken again", taken).await;
    let bridge = bridge.into_program().terminate().await;
    assert!(bridge.log.contains("The collector accepts traces again"), "{}", bridge.log);
    assert_eq!(bridge.log.matches("The collector does not accept traces").count(), 1, "one line for each change");
    world.verified().await;
}

#[tokio::test]
async fn a_collector_that_speaks_something_else_is_told_nothing_and_keeps_nobody_from_working() {
    let (world, collector) = (World::start().await, Collector::start().await);
    let url = collector.url();
    let variables = [&traces_to(&url)[..], &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]].concat();
    let worker = world.worker_through(Route::with(&variables)).await;
    world.enroll("ann").await;
    world.settled().await;
    let worker = worker.terminate().await;
    assert!(worker.log.contains("No traces are sent") && worker.log.contains("http/protobuf"), "{}", worker.log);
    assert!(collector.spans().is_empty());
}

/// By default a span waits up to five seconds for others to travel with.
fn traces_to(url: &str) -> [(&'static str, &str); 2] {
    [("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("OTEL_BSP_SCHEDULE_DELAY", "100")]
}

async fn ready(bridge: &Bridge) {
    eventually("the bridge is ready", async || (bridge.get("/readyz").await.status == 200).then_some(())).await;
}

fn earn(member: &str) -> Command {
    command(member, Action::Earn(Earn { points: points(5) }))
}

/// A command's message as part of a trace.
fn within(traceparent: &str, command: &Command) -> Raw {
    let trace = TraceContext::parse(traceparent, None).expect("a trace");
    Raw::of(command).with_properties(|properties| properties.with_headers(trace.headers()))
}

fn command_ids(collector: &Collector) -> Vec<String> {
    collector.spans().into_iter().filter_map(|(_, mut span)| span.attributes.remove("loyalty.command.id")).collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}
