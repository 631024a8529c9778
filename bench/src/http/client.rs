//! A client that asks for one thing after the other on one connection: as little work as HTTP allows, since it runs on
//! the machine that is measured.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A bridge that is not ready by then never will be: connecting takes it a second at most.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// How often it is asked.
const POLL: Duration = Duration::from_millis(50);

/// One connection.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("the bridge does not listen")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Its error comes out of the request as well.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender })
    }

    /// Posts a body and returns the answer's, which must have that status.
    pub(crate) async fn post(&mut self, path: &str, media_type: &str, body: Vec<u8>, status: u16) -> Result<Bytes> {
        let request = Request::post(path).header("host", "localhost").header("content-type", media_type);
        self.ask(request.body(Full::new(body.into()))?, status).await
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>, status: u16) -> Result<Bytes> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let answered = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(answered == status, "the bridge answered {answered}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}

/// Waits until the bridge can publish and read.
pub(crate) async fn ready(address: SocketAddr) -> Result<()> {
    let began = Instant::now();
    while let Err(error) = asked(address).await {
        ensure!(began.elapsed() < READY_LIMIT, "the bridge is not ready: {error:#}");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

async fn asked(address: SocketAddr) -> Result<Bytes> {
    let request = Request::get("/readyz").header("host", "localhost").body(Full::default())?;
    Client::connect(address).await?.ask(request, 200).await
}
