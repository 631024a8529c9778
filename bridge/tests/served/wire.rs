//! What HTTP itself asks of a server, byte by byte.

use loyalty_bridge::Limits;

use crate::http::{raw, send};
use crate::v1::JSON;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_its_host_once() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits::default()).await;
    let ask = async |version: &str, headers: &str| {
        let answer =
            raw(bridge.addr, &format!("GET /healthz HTTP/{version}\r\n{headers}Connection: close\r\n\r\n")).await;
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(ask("1.1", "").await, "400");
    assert_eq!(ask("1.1", "Host: localhost\r\nHost: localhost\r\n").await, "400");
    assert_eq!(ask("1.1", "Host: a@localhost\r\n").await, "400");
    assert_eq!(ask("1.1", "Host: LOCALHOST.:1\r\n").await, "200");
    assert_eq!(ask("1.0", "").await, "200", "which knows no such header");
    let whole = "GET http://rebind.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(raw(bridge.addr, whole).await.starts_with("HTTP/1.1 421"), "the request line names one, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_body_is_refused_and_not_read_as_it_is() {
    let world = World::start("wire_packed").await;
    let bridge = world.bridge(Limits::default()).await;
    let earn = r#"{"v":1,"member_id":"ann","type":"earn","points":5}"#;
    for path in ["/ann", "/ann/add_points/5", "/v1/commands", "/v1/commands/batch"] {
        let body = if path == "/v1/commands/batch" { format!("[{earn}]") } else { earn.to_owned() };
        let body = if path.starts_with("/ann") { "{}" } else { &body };
        for encoding in ["gzip", "br", "identity, gzip", "x"] {
            let refused = send(bridge.addr, "POST", path, &[JSON, ("Content-Encoding", encoding)], body).await;
            assert_eq!((refused.status, refused.text("code")), (415, "content_encoding"), "{path} {encoding}");
            assert_eq!(
                (refused.text("allowed"), refused.header("accept-encoding")),
                ("identity, or be left out", Some("identity"))
            );
        }
    }
    assert_eq!(world.waiting_commands().await, 0, "nothing was published");
    let plain = send(bridge.addr, "POST", "/v1/commands", &[JSON, ("Content-Encoding", "Identity")], earn).await;
    assert_eq!(plain.status, 202, "{}", plain.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits::default()).await;
    for (path, too_large) in [("/ann", 65_537), ("/v1/commands", 65_537), ("/v1/commands/batch", 2 * 1024 * 1024 + 1)] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
             Connection: close\r\nContent-Length: {too_large}\r\n\r\n"
        );
        let answer = raw(bridge.addr, &head).await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("too_large"), "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn points_are_written_in_one_way() {
    let world = World::untouched().await;
    let bridge = world.bridge(Limits::default()).await;
    for points in ["007", "00", "01"] {
        for kind in ["add_points", "spend_points"] {
            let refused = send(bridge.addr, "POST", &format!("/ann/{kind}/{points}"), &[], "").await;
            assert_eq!((refused.status, refused.text("field")), (400, "points"), "{points}");
        }
    }
    assert_eq!(world.waiting_commands().await, 0, "nothing was published");
}
