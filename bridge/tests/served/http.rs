//! One HTTP request on a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use loyalty_local::wait::{self, PATIENCE, within};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than the bridge takes for anything.
const LIMIT: Duration = Duration::from_secs(30);

/// What the bridge answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    headers: Vec<(String, String)>,
    json: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        self.json.clone()
    }

    /// A field of the body that is a text.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.json[field].as_str().unwrap_or_else(|| panic!("no {field} in {}", self.body))
    }
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = headers.iter().fold(String::new(), |all, (name, value)| format!("{all}{name}: {value}\r\n"));
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {length}\r\n");
    parse(&raw(addr, &format!("{head}{headers}\r\n{body}")).await)
}

/// Sends bytes and reads until the other side closes.
pub(crate) async fn raw(addr: SocketAddr, request: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        // Who refuses a request before it has all of it answers and closes; the rest of it cannot be sent then.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        // A connection that is reset after its answer has answered.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    tokio::time::timeout(LIMIT, exchange).await.expect("an answer in time")
}

/// Asks again until the answer has that status.
pub(crate) async fn eventually(addr: SocketAddr, path: &str, status: u16) -> Answer {
    until(addr, path, |answer| answer.status == status).await
}

/// Asks again until the body contains that text.
pub(crate) async fn eventually_text(addr: SocketAddr, path: &str, text: &str) -> Answer {
    until(addr, path, |answer| answer.body.contains(text)).await
}

/// Asks again until it is no longer so.
pub(crate) async fn eventually_not(is_so: impl AsyncFn() -> bool) {
    wait::eventually("it is no longer so", async || (!is_so().await).then_some(())).await;
}

async fn until(addr: SocketAddr, path: &str, is_it: impl Fn(&Answer) -> bool) -> Answer {
    let mut last = None;
    let ask = async || {
        let answer = last.insert(send(addr, "GET", path, &[], "").await);
        is_it(answer).then(|| answer.clone())
    };
    let found = within(PATIENCE, ask).await;
    found.unwrap_or_else(|| panic!("still {last:?}"))
}

fn parse(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers = lines.filter_map(header).collect();
    Answer { status, headers, body: body.to_owned(), json: serde_json::from_str(body).unwrap_or_default() }
}
