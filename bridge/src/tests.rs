//! What the bridge says without any server: requests that are wrong, and servers that are away.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::FromRef;
use axum::http::Request;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use loyalty_common::secret::SecretUrl;
use loyalty_store::clock::Clock;
use loyalty_store::pool::DatabaseUrl;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::app::App;
use crate::host_guard::Hosts;
use crate::middleware::{self, Middleware, RouteClass};
use crate::{AuthMode, BridgeSettings, Limits, Metrics, routes};

/// Nobody listens on port 1.
const AMQP: &str = "amqp://loyalty:s3cret@127.0.0.1:1/shop";
const DATABASE: &str = "postgres://loyalty:s3cret@127.0.0.1:1/shop";

fn app_with(limits: Limits) -> App {
    app_for(AuthMode::Anyone, limits)
}

fn app_for(admission: AuthMode, limits: Limits) -> App {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let settings = BridgeSettings {
        amqp: SecretUrl::known(AMQP),
        database: DatabaseUrl::known(DATABASE),
        admission,
        hosts: Hosts::default(),
        limits,
        clock: Clock::default(),
    };
    let address = ([127, 0, 0, 1], 5000).into();
    let (published, shutdown) = (routes::published(&limits), CancellationToken::new());
    App::start(settings, address, metrics, Arc::new(registry), published, &shutdown).expect("a URL")
}

fn bridge_with(limits: Limits) -> Router {
    routes::router(&app_with(limits))
}

fn bridge() -> Router {
    bridge_with(Limits::default())
}

/// Status, telling headers and body, as a person would read them.
async fn ask(bridge: &Router, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let request = headers
        .iter()
        .fold(Request::builder().method(method).uri(path).header("host", "localhost"), |request, (name, value)| {
            request.header(*name, *value)
        });
    let request = request.body(Body::from(body.to_owned())).expect("a request");
    let response = bridge.clone().oneshot(request).await.expect("an answer");
    let mut said = vec![response.status().as_u16().to_string()];
    for name in ["content-type", "allow", "retry-after"] {
        let value = response.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
        said.extend(value.map(|value| format!("{name}: {value}")));
    }
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    said.push(String::from_utf8(body.to_vec()).expect("text"));
    said.join("\n")
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn wrong_points_are_named_with_what_is_allowed() {
    let bridge = bridge();
    for points in ["0", "-5", "1.5", "1000000000001", "abc", "99999999999999999999", "1e3", "%205", "+5"] {
        for action in ["add_points", "spend_points"] {
            let said = ask(&bridge, "POST", &format!("/123/{action}/{points}"), &[], "").await;
            insta::allow_duplicates! {
                insta::assert_snapshot!(said, @r#"
                400
                content-type: application/problem+json
                {"type":"about:blank","title":"Bad Request","status":400,"code":"invalid","detail":"`points` must be an integer from 1 to 1000000000000","field":"points","allowed":"an integer from 1 to 1000000000000"}
                "#);
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_member_id_is_named_with_what_is_allowed() {
    let bridge = bridge();
    let long = "x".repeat(65);
    for id in [long.as_str(), "a%20b", "%C3%A4nn", "a%00b"] {
        let said = ask(&bridge, "POST", &format!("/{id}"), &[], "").await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(said, @r#"
            400
            content-type: application/problem+json
            {"type":"about:blank","title":"Bad Request","status":400,"code":"invalid","detail":"`member_id` must be 1 to 64 bytes of printable ASCII without spaces","field":"member_id","allowed":"1 to 64 bytes of printable ASCII without spaces"}
            "#);
        }
    }
    insta::assert_snapshot!(ask(&bridge, "POST", "/healthz/add_points/5", &[], "").await, @r#"
    400
    content-type: application/problem+json
    {"type":"about:blank","title":"Bad Request","status":400,"code":"invalid","detail":"`member_id` must be none of healthz, readyz, metrics, v1, docs, openapi.json here","field":"member_id","allowed":"none of healthz, readyz, metrics, v1, docs, openapi.json here"}
    "#);
    // Not even text.
    insta::assert_snapshot!(ask(&bridge, "POST", "/%FF", &[], "").await, @r#"
    400
    content-type: application/problem+json
    {"type":"about:blank","title":"Bad Request","status":400,"code":"invalid","detail":"`member_id` must be printable ASCII","field":"member_id","allowed":"printable ASCII"}
    "#);
    insta::assert_snapshot!(ask(&bridge, "POST", "/123/add_points/%FF", &[], "").await, @r#"
    400
    content-type: application/problem+json
    {"type":"about:blank","title":"Bad Request","status":400,"code":"invalid","detail":"`points` must be printable ASCII","field":"points","allowed":"printable ASCII"}
    "#);
}

#[tokio::test]
async fn an_encoded_id_is_decoded_once() {
    let bridge = bridge();
    // 64 bytes once decoded, and a slash is one of them; what follows is that the broker is away, not that it is wrong.
    let id = format!("{}%2F%25", "x".repeat(62));
    let said = ask(&bridge, "POST", &format!("/{id}"), &[], "").await;
    assert!(said.contains("broker_away"), "{said}");
}

#[tokio::test]
async fn a_wrong_body_is_named_by_its_field_and_never_quoted() {
    let bridge = bridge();
    let check = async |body: &str, expected: &str| {
        let said = ask(&bridge, "POST", "/123", &[JSON], body).await;
        assert!(said.starts_with("400\n") && said.contains(expected), "{body}: {said}");
        assert!(!said.contains("bob"), "{said}");
    };
    check("{\"email\":\"bob\"}", "`email` must be an email address of at most 254 bytes").await;
    check("{\"email\":\"bob..x@example.com\"}", "before the `@`, a dot must stand between two other characters").await;
    check("{\"email\":5}", "`email` must be a string").await;
    check("{\"email\":[\"bob@example.com\"]}", "`email` must be a string").await;
    check("{\"name\":\"\"}", "`name` must be 1 to 200 bytes of UTF-8 without control characters").await;
    check("{\"reason\":\"a\",\"reason\":\"b\"}", "`reason` must be given once").await;
    check("{\"emial\":\"bob@example.com\"}", "`emial` is not a field of this request").await;
    check("{\"bob@example.com\":1}", "`body` is not a field of this request").await;
    check("bob@example.com", "`body` must be one JSON object; it is not, at line 1 column 1").await;
    check("[\"bob\"]", "`body` must be one JSON object; it is not").await;
    check("{} {}", "`body` must be one JSON object; it is not").await;
    check("{\"email\":", "`body` must be one JSON object; it is not").await;
    let said = ask(&bridge, "POST", "/123/add_points/5", &[JSON], "{\"email\":\"bob@example.com\"}").await;
    insta::assert_snapshot!(said, @r#"
    400
    content-type: application/problem+json
    {"type":"about:blank","title":"Bad Request","status":400,"code":"invalid","detail":"`email` is a field of enrolments only","field":"email"}
    "#);
}

#[tokio::test]
async fn a_body_must_be_json_by_its_own_account_and_within_its_bound() {
    let bridge = bridge();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    insta::assert_snapshot!(ask(&bridge, "POST", "/123", &form, "email=ann@example.com").await, @r#"
    415
    content-type: application/problem+json
    {"type":"about:blank","title":"Unsupported Media Type","status":415,"code":"not_json","detail":"a body must be of Content-Type application/json"}
    "#);
    // An empty body says nothing, whatever it is called.
    assert!(ask(&bridge, "POST", "/123", &form, "").await.contains("broker_away"));
    let charset = [("content-type", "Application/JSON; charset=utf-8")];
    assert!(ask(&bridge, "POST", "/123", &charset, "{}").await.contains("broker_away"));
    let large = format!("{{{}}}", " ".repeat(64 * 1024));
    insta::assert_snapshot!(ask(&bridge, "POST", "/123", &[JSON], &large).await, @r#"
    413
    content-type: application/problem+json
    {"type":"about:blank","title":"Payload Too Large","status":413,"code":"too_large","detail":"a body may have at most 65536 bytes here"}
    "#);
}

#[tokio::test]
async fn a_wrong_key_is_named() {
    let bridge = bridge();
    let long = "x".repeat(256);
    for key in ["", "a\tb", long.as_str(), "ä"] {
        let said = ask(&bridge, "POST", "/123", &[("idempotency-key", key)], "").await;
        assert!(said.starts_with("400\n") && said.contains("\"field\":\"idempotency-key\""), "{key}: {said}");
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    insta::assert_snapshot!(ask(&bridge, "POST", "/123", &twice, "").await, @r#"
    400
    content-type: application/problem+json
    {"type":"about:blank","title":"Bad Request","status":400,"code":"invalid","detail":"`idempotency-key` must be given once, with 1 to 255 bytes of printable ASCII","field":"idempotency-key","allowed":"given once, with 1 to 255 bytes of printable ASCII"}
    "#);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let bridge = bridge();
    insta::assert_snapshot!(ask(&bridge, "GET", "/123/points", &[], "").await, @r#"
    404
    content-type: application/problem+json
    {"type":"about:blank","title":"Not Found","status":404,"code":"no_such_route","detail":"nothing is served at this path"}
    "#);
    insta::assert_snapshot!(ask(&bridge, "PUT", "/123", &[], "").await, @r#"
    405
    content-type: application/problem+json
    allow: POST,GET,HEAD
    {"type":"about:blank","title":"Method Not Allowed","status":405,"code":"method_not_allowed","detail":"see the header Allow"}
    "#);
    insta::assert_snapshot!(ask(&bridge, "GET", "/123/exit", &[], "").await, @r#"
    405
    content-type: application/problem+json
    allow: DELETE
    {"type":"about:blank","title":"Method Not Allowed","status":405,"code":"method_not_allowed","detail":"see the header Allow"}
    "#);
    insta::assert_snapshot!(ask(&bridge, "POST", "/healthz", &[], "").await, @r#"
    405
    content-type: application/problem+json
    allow: GET,HEAD
    {"type":"about:blank","title":"Method Not Allowed","status":405,"code":"method_not_allowed","detail":"see the header Allow"}
    "#);
    insta::assert_snapshot!(ask(&bridge, "GET", "/123/commands/991", &[], "").await, @r#"
    400
    content-type: application/problem+json
    {"type":"about:blank","title":"Bad Request","status":400,"code":"invalid","detail":"`command_id` must be a UUID such as 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","field":"command_id","allowed":"a UUID such as 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11"}
    "#);
}

#[tokio::test]
async fn while_servers_are_away_it_says_what_may_be_repeated() {
    let bridge = bridge();
    insta::assert_snapshot!(ask(&bridge, "POST", "/123/add_points/5", &[], "").await, @r#"
    503
    content-type: application/problem+json
    retry-after: 2
    {"type":"about:blank","title":"Service Unavailable","status":503,"code":"broker_away","detail":"the queue cannot be reached; nothing was done, and the request may be repeated"}
    "#);
    insta::assert_snapshot!(ask(&bridge, "GET", "/123", &[], "").await, @r#"
    503
    content-type: application/problem+json
    retry-after: 2
    {"type":"about:blank","title":"Service Unavailable","status":503,"code":"database_away","detail":"the database cannot be asked at present"}
    "#);
    insta::assert_snapshot!(ask(&bridge, "GET", "/healthz", &[], "").await, @r#"
    200
    content-type: application/json
    {"status":"alive"}
    "#);
    let ready = ask(&bridge, "GET", "/readyz", &[], "").await;
    assert!(ready.starts_with("503\n") && ready.contains("RabbitMQ: not connected"), "{ready}");
    assert!(ready.contains("PostgreSQL: cannot be reached") && !ready.contains("s3cret"), "{ready}");
}

#[tokio::test]
async fn one_request_too_many_is_turned_away_at_once() {
    let bridge = bridge_with(Limits { requests: 0, ..Limits::default() });
    insta::assert_snapshot!(ask(&bridge, "POST", "/123", &[], "").await, @r#"
    503
    content-type: application/problem+json
    retry-after: 2
    {"type":"about:blank","title":"Service Unavailable","status":503,"code":"busy","detail":"too many requests are under way; nothing was done"}
    "#);
    // But not those who ask how it is.
    assert!(ask(&bridge, "GET", "/healthz", &[], "").await.starts_with("200"));
}

#[tokio::test]
async fn requests_are_counted_by_pattern_and_not_by_member() {
    let bridge = bridge();
    for id in ["ann", "bob"] {
        ask(&bridge, "POST", &format!("/{id}/add_points/0"), &[], "").await;
    }
    ask(&bridge, "BREW", "/ann", &[], "").await;
    ask(&bridge, "GET", "/a/b/c/d", &[], "").await;
    let metrics = ask(&bridge, "GET", "/metrics", &[], "").await;
    let counted: Vec<&str> = metrics.lines().filter(|line| line.starts_with("loyalty_bridge_requests")).collect();
    let mut counted = counted;
    counted.sort_unstable();
    insta::assert_snapshot!(counted.join("\n"), @r#"
    loyalty_bridge_requests_total{method="GET",route="none",status="404"} 1
    loyalty_bridge_requests_total{method="POST",route="/{member_id}/add_points/{points}",status="400"} 2
    loyalty_bridge_requests_total{method="other",route="/{member_id}",status="405"} 1
    "#);
}

#[tokio::test]
async fn no_answer_is_kept_in_a_cache() {
    let guarded = app_for(AuthMode::Tokens, Limits { read_timeout: Duration::from_millis(1), ..Limits::default() });
    let guarded = routes::router(&guarded);
    let check = async |bridge: &Router, method: &str, path: &str, status: u16| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .body(Body::empty())
            .expect("a request");
        let response = bridge.clone().oneshot(request).await.expect("an answer");
        let kept = response.headers().get("cache-control").map(|value| value.to_str().expect("text"));
        assert_eq!((response.status().as_u16(), kept), (status, Some("no-store")), "{method} {path}");
    };
    check(&bridge(), "GET", "/healthz", 200).await;
    check(&bridge(), "POST", "/123/add_points/0", 400).await;
    check(&bridge(), "GET", "/a/b/c/d", 404).await;
    check(&bridge(), "BREW", "/ann", 405).await;
    check(&guarded, "GET", "/ann", 503).await;
}

#[tokio::test]
async fn a_request_that_panics_is_answered_and_counted() {
    let app = app_with(Limits::default());
    let state = (Arc::<Middleware>::from_ref(&app), RouteClass::Unrouted);
    let layer = from_fn_with_state(state, middleware::handle);
    let panicking = Router::new().route("/panics", get(async || -> () { panic!("as the test wants it") })).layer(layer);
    insta::assert_snapshot!(ask(&panicking, "GET", "/panics", &[], "").await, @r#"
    500
    content-type: application/problem+json
    {"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal","detail":"the bridge failed; what was asked may have been done"}
    "#);
    let metrics = ask(&routes::router(&app), "GET", "/metrics", &[], "").await;
    assert!(metrics.contains(r#"{method="GET",route="/panics",status="500"} 1"#), "{metrics}");
}
