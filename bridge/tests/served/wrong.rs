//! Every field of every route, wrong in every way that we could think of: a 4xx that names the field, never a 5xx, no
//! value of the client's in the answer, and nothing published.

use loyalty_bridge::Limits;
use loyalty_common::CommandType;

use crate::http::{Answer, send};
use crate::world::{Running, World, command};
use crate::{NO_HEADERS, v1};

/// Stands in values only, and must not come back.
const SECRET: &str = "s3cret";

/// A UUID whose hexadecimal digits are too few.
const NO_UUID: &str = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e1";

/// Asks, and holds the answer to what is promised of all that are wrong.
async fn wrong(bridge: &Running, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let answer = send(bridge.addr, method, path, headers, body).await;
    let what = format!("{method} {path} {headers:?} {body:.200}: {} {}", answer.status, answer.body);
    assert!((400..500).contains(&answer.status), "{what}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    assert_eq!(answer.json()["status"], answer.status, "{what}");
    assert!(!answer.text("code").is_empty() && !answer.text("detail").is_empty(), "{what}");
    assert!(!answer.body.contains(SECRET), "{what}");
    answer
}

/// As [`wrong`], naming the field.
async fn names(bridge: &Running, method: &str, path: &str, headers: &[(&str, &str)], body: &str, field: &str) {
    let answer = wrong(bridge, method, path, headers, body).await;
    let what = format!("{method} {path} {headers:?} {body:.200}: {}", answer.body);
    assert_eq!((answer.status, answer.json()["field"].as_str()), (400, Some(field)), "{what}");
}

/// Values that no field of any route takes.
const NEVER: [&str; 9] = ["null", "true", "{}", "[]", "[\"s3cret\"]", "{\"a\":\"s3cret\"}", "-1", "1.5", "1e400"];

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_a_command_is_named_when_it_is_wrong() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits::default()).await;
    let long = format!("\"{}\"", "x".repeat(300));
    let cases: &[(&str, &[&str])] = &[
        ("v", &["0", "2", "\"1\"", "1.0", "18446744073709551616"]),
        ("command_id", &["\"\"", "\"s3cret\"", "5", &format!("\"{NO_UUID}\"")]),
        ("member_id", &["\"\"", "\"a b\"", "\"ä\"", "\"a\\u0000b\"", "\"a\\nb\"", "5", &long]),
        ("type", &["\"\"", "\"s3cret\"", "\"Earn\"", "5"]),
        ("points", &["0", "\"5\"", "1000000000001", "99999999999999999999", "5.0", "1e3"]),
        (
            "occurred_at",
            &[
                "\"\"",
                "\"yesterday\"",
                "5",
                "\"1899-12-31T23:59:59Z\"",
                "\"9999-01-01T00:00:00Z\"",
                "\"2026-02-30T00:00:00Z\"",
            ],
        ),
        ("reason", &["\"\"", "\"a\\u0007\"", "5", &long]),
        ("source_ref", &["\"\"", "\"a\\u0000\"", "5", &long]),
    ];
    for (field, values) in cases {
        let known = [("v", "1"), ("member_id", "\"ann\""), ("type", "\"earn\""), ("points", "5")];
        for value in values.iter().chain(&NEVER) {
            let others =
                known.iter().filter(|(name, _)| name != field).map(|(name, value)| format!("\"{name}\":{value}"));
            let body = format!("{{{},\"{field}\":{value}}}", others.collect::<Vec<_>>().join(","));
            // What JSON itself does not allow is wrong as a whole.
            let field_said = if *value == "1e400" { "body" } else { *field };
            names(&bridge, "POST", "/v1/commands", &[v1::JSON], &body, field_said).await;
            let line = send(bridge.addr, "POST", "/v1/commands/batch", &[v1::JSON], &format!("[{body}]")).await;
            let whole = *value == "1e400" && line.status == 400;
            assert!(whole || line.json()[0]["field"] == field_said, "{body}: {}", line.body);
        }
        // Twice, even if both are right.
        let known_value = known.iter().find(|(name, _)| name == field).map_or("\"x\"", |(_, value)| *value);
        let twice = format!("{{\"{field}\":{known_value},\"{field}\":{known_value}}}");
        names(&bridge, "POST", "/v1/commands", &[v1::JSON], &twice, field).await;
    }
    assert_eq!(world.waiting_commands().await, 0, "nothing was published");
}

/// The fields of each type that has any, as they may be.
const RIGHT: [(CommandType, &[(&str, &str)]); 10] = [
    (CommandType::Enroll, &[("email", "\"ann@example.com\""), ("name", "\"Ann\"")]),
    (CommandType::Update, &[("email", "\"ann@example.com\""), ("name", "\"Ann\"")]),
    (CommandType::Earn, &[("points", "5")]),
    (CommandType::Spend, &[("points", "5")]),
    (CommandType::Adjust, &[("points", "5"), ("counts", "false")]),
    (CommandType::Reverse, &[("target", ID), ("points", "5")]),
    (CommandType::Hold, &[("points", "5"), ("expires_at", "\"2026-11-22T10:00:00Z\"")]),
    (CommandType::Capture, &[("target", ID), ("points", "5")]),
    (CommandType::Release, &[("target", ID)]),
    (CommandType::Redeem, &[("number", "1")]),
];

const ID: &str = "\"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11\"";

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_every_type_is_named_when_it_is_wrong() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits::default()).await;
    for command_type in CommandType::ALL {
        let fields = RIGHT.iter().find(|(of, _)| of == command_type).map_or(&[][..], |(_, fields)| *fields);
        let named: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let known: Vec<&str> = command_type.about().fields.iter().map(|field| field.name).collect();
        assert_eq!(named, known, "the fields of {command_type}");
        for field in &named {
            for value in NEVER.into_iter().filter(|value| !is_taken(*command_type, field, value)) {
                let value_of = |(name, right): &(&str, &'static str)| if name == field { value } else { *right };
                let fields =
                    fields.iter().map(|it| format!(",\"{}\":{}", it.0, value_of(it))).collect::<Vec<_>>().concat();
                let body = command("ann", &format!(r#""type":"{command_type}","reason":"by hand"{fields}"#));
                let said = if value == "1e400" { "body" } else { *field };
                names(&bridge, "POST", "/v1/commands", &[v1::JSON], &body, said).await;
            }
        }
        // What belongs to no type.
        let body = command("ann", &format!(r#""type":"{command_type}","bonus":1"#));
        wrong(&bridge, "POST", "/v1/commands", &[v1::JSON], &body).await;
    }
    assert_eq!(world.waiting_commands().await, 0, "nothing was published");
}

/// What of [`NEVER`] a field takes all the same.
fn is_taken(command_type: CommandType, field: &str, value: &str) -> bool {
    matches!(
        (command_type, field, value),
        (CommandType::Update, _, "null")
            | (CommandType::Adjust, "counts", "true")
            | (CommandType::Adjust, "points", "-1")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_missing_or_out_of_place_is_named() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits::default()).await;
    for field in ["v", "member_id", "type", "points"] {
        let body = command("ann", r#""type":"earn","points":5"#);
        let part = match field {
            "v" => "\"v\":1,",
            "member_id" => "\"member_id\":\"ann\",",
            "type" => "\"type\":\"earn\",",
            _ => ",\"points\":5",
        };
        names(&bridge, "POST", "/v1/commands", &[v1::JSON], &body.replace(part, ""), field).await;
    }
    for (rest, field) in [
        (r#""type":"earn","points":5,"bonus":1"#, "bonus"),
        (r#""type":"earn","points":5,"email":"s3cret@example.com""#, "email"),
        (r#""type":"exit","points":5"#, "points"),
        (r#""type":"terminate""#, "type"),
        (r#""type":"enroll","email":"s3cret""#, "email"),
        (r#""type":"enroll","email":["s3cret@example.com"]"#, "email"),
        (r#""type":"enroll","name":"\u0000""#, "name"),
        (r#""type":"enroll","s3cret@example.com":1"#, "body"),
    ] {
        names(&bridge, "POST", "/v1/commands", &[v1::JSON], &command("ann", rest), field).await;
    }
    assert_eq!(world.waiting_commands().await, 0, "nothing was published");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_body_and_header_is_named_when_it_is_wrong() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits::default()).await;
    let good = command("ann", r#""type":"earn","points":5"#);
    let deep = format!("{{\"v\":{}", "[".repeat(60_000));
    for body in ["", "{", "[]", "5", "null", "\"s3cret\"", "s3cret", "{} {}", "\u{feff}{}", "{\"v\":1", deep.as_str()] {
        names(&bridge, "POST", "/v1/commands", &[v1::JSON], body, "body").await;
    }
    for body in ["", "{", "{}", "5", "null", "s3cret", "[", "[1,]", "[] []", "[]"] {
        names(&bridge, "POST", "/v1/commands/batch", &[v1::JSON], body, "body").await;
    }
    names(&bridge, "POST", "/v1/commands/batch", &[("Content-Type", "application/x-ndjson")], "\n \n", "body").await;

    let long = "k".repeat(256);
    for path in ["/v1/commands", "/v1/commands/batch", "/ann/add_points/5"] {
        for key in ["", "a\tb", "ä", long.as_str()] {
            let headers = [v1::JSON, ("Idempotency-Key", key)];
            names(&bridge, "POST", path, &headers, &good, "idempotency-key").await;
        }
        let twice = [v1::JSON, ("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
        names(&bridge, "POST", path, &twice, &good, "idempotency-key").await;
        for media_type in ["", "text/plain", "application/xml", "application/json-seq", "json"] {
            let refused = wrong(&bridge, "POST", path, &[("Content-Type", media_type)], &good).await;
            assert_eq!(refused.status, 415, "{path} {media_type}");
        }
        let large = wrong(&bridge, "POST", path, &[v1::JSON], &" ".repeat(3 * 1024 * 1024)).await;
        assert_eq!((large.status, large.text("code")), (413, "too_large"), "{path}");
    }
    let id = "\"command_id\":\"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11\",";
    let both = good.replacen('{', &format!("{{{id}"), 1);
    names(&bridge, "POST", "/v1/commands", &[v1::JSON, ("Idempotency-Key", "a")], &both, "idempotency-key").await;
    assert_eq!(world.waiting_commands().await, 0, "nothing was published");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_of_a_path_is_named_when_it_is_wrong() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits::default()).await;
    let x65 = "x".repeat(65);
    for member in ["a%20b", "%C3%A4", "%00", "%FF", "a%0Ab", x65.as_str()] {
        for rest in ["", "/ledger", "/commands/019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11"] {
            names(&bridge, "GET", &format!("/v1/members/{member}{rest}"), NO_HEADERS, "", "member_id").await;
        }
        names(&bridge, "POST", &format!("/{member}/add_points/5"), NO_HEADERS, "", "member_id").await;
    }
    for reserved in ["healthz", "readyz", "metrics", "v1", "docs", "openapi.json"] {
        names(&bridge, "POST", &format!("/{reserved}/add_points/5"), NO_HEADERS, "", "member_id").await;
        names(&bridge, "DELETE", &format!("/{reserved}/exit"), NO_HEADERS, "", "member_id").await;
    }
    for id in [NO_UUID, "s3cret", "%FF", "-"] {
        names(&bridge, "GET", &format!("/v1/members/ann/commands/{id}"), NO_HEADERS, "", "command_id").await;
        names(&bridge, "GET", &format!("/ann/commands/{id}"), NO_HEADERS, "", "command_id").await;
    }
    for path in
        ["/v1", "/v1/", "/v1/command", "/v1/commands/", "/v1/members/", "/v1/members/ann/x", "/v2/members/ann/x"]
    {
        wrong(&bridge, "GET", path, NO_HEADERS, "").await;
    }
    for (method, path) in
        [("GET", "/v1/commands"), ("PUT", "/v1/commands"), ("DELETE", "/v1/members/ann"), ("BREW", "/v1/members")]
    {
        let refused = wrong(&bridge, method, path, NO_HEADERS, "").await;
        assert!(refused.status == 405 && refused.header("allow").is_some(), "{method} {path}: {}", refused.body);
    }
    assert_eq!(world.waiting_commands().await, 0, "nothing was published");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_parameter_is_named_when_it_is_wrong() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits::default()).await;
    for (path, parameters) in [
        ("/v1/members", &["points_gte", "status", "after", "limit"][..]),
        ("/v1/members/ann", &["after_command", "wait"]),
        ("/v1/members/ann/ledger", &["after", "limit", "after_command", "wait"]),
        ("/v1/members/ann/commands/019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11", &["wait"]),
    ] {
        for name in parameters {
            for value in ["", "%20", "-1", "1.5", "1e3", "%00", "%FF", "99999999999999999999", "s3cret%21%20"] {
                // Printable ASCII is an id like any other.
                let is_id = *name == "after" && path == "/v1/members" && !value.is_empty() && !value.contains('%');
                if !is_id {
                    names(&bridge, "GET", &format!("{path}?{name}={value}"), NO_HEADERS, "", name).await;
                }
            }
            names(&bridge, "GET", &format!("{path}?{name}=1&{name}=1"), NO_HEADERS, "", name).await;
        }
        names(&bridge, "GET", &format!("{path}?pionts=1"), NO_HEADERS, "", "pionts").await;
        names(&bridge, "GET", &format!("{path}?s3cret%20=1"), NO_HEADERS, "", "query").await;
    }
    names(&bridge, "GET", "/v1/members?limit=1001", NO_HEADERS, "", "limit").await;
    names(&bridge, "GET", "/v1/members?status=unenrolled", NO_HEADERS, "", "status").await;
    names(&bridge, "GET", "/v1/members/ann?wait=2", NO_HEADERS, "", "wait").await;
    assert_eq!(world.waiting_commands().await, 0, "nothing was published");
}
