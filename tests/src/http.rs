//! One HTTP request on a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The bridge answers within seconds, whatever is away.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    /// The value of a header, or nothing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of ours is text"))
    }
}

/// Sends a request and waits for the whole answer.
pub async fn send(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", addr.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::copy_from_slice(body.unwrap_or_default().as_bytes()));
    let request = request.body(body).expect("a request that the test wrote");
    let answer = tokio::time::timeout(ANSWER_LIMIT, exchange(addr, request)).await;
    let answer = answer.unwrap_or_else(|_| panic!("{method} {path}: no answer within 30 seconds"));
    answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

async fn exchange(addr: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, Box<dyn std::error::Error>> {
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Its error comes out of the request as well.
    tokio::spawn(async move { drop(connection.await) });
    let response = sender.send_request(request).await?;
    let (head, body) = response.into_parts();
    let body = String::from_utf8(body.collect().await?.to_bytes().to_vec())?;
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}
