//! A TCP relay in front of a server, for tests of what a bad network does.
//!
//! It passes bytes on unread. Frozen, it keeps the connections and holds back what clients send; cut, it drops them.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::door::Door;

/// What is read at once. Held back while frozen: a client that writes on meets full buffers, as on a real network.
const CHUNK_BYTES: usize = 16 * 1024;

/// Why the proxy could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Its port could not be opened or closed.
    #[error("cannot open the proxy's port")]
    Port(#[source] io::Error),
}

/// A running relay. Dropping it closes the port and all connections.
#[derive(Debug)]
pub struct Proxy {
    door: Door,
    frozen: watch::Sender<bool>,
    cuts: watch::Sender<u64>,
    _close: DropGuard,
}

impl Proxy {
    /// Starts a relay to `upstream` on a free port of 127.0.0.1.
    pub async fn start(upstream: SocketAddr) -> Result<Self, ProxyError> {
        let (frozen, cuts, closing) = (watch::Sender::new(false), watch::Sender::new(0), CancellationToken::new());
        let (is_frozen, cut, closed) = (frozen.subscribe(), cuts.subscribe(), closing.clone());
        let welcome = move |client| {
            let (is_frozen, closed, mut cut) = (is_frozen.clone(), closed.clone(), cut.clone());
            // Earlier cuts were meant for others.
            cut.mark_unchanged();
            tokio::spawn(async move {
                tokio::select! {
                    () = closed.cancelled() => {}
                    _ = cut.changed() => {}
                    end = relay(client, upstream, is_frozen) => if let Err(error) = end {
                        tracing::debug!(%error, "A relayed connection broke");
                    }
                }
            });
        };
        let door = Door::open(None, welcome).await.map_err(ProxyError::Port)?;
        Ok(Self { door, frozen, cuts, _close: closing.drop_guard() })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.door.address()
    }

    /// Holds back what clients send from now on. Connections stay open, and answers still pass.
    pub fn freeze_upstream(&self) {
        self.frozen.send_replace(true);
    }

    /// Lets everything that was held back go.
    pub fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    /// Drops all connections now.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Closes the port: new clients are refused, open connections stay.
    pub async fn refuse(&self) -> Result<(), ProxyError> {
        self.door.set_open(false).await.map_err(ProxyError::Port)
    }

    /// Opens the port again.
    pub async fn accept(&self) -> Result<(), ProxyError> {
        self.door.set_open(true).await.map_err(ProxyError::Port)
    }
}

async fn relay(client: TcpStream, upstream: SocketAddr, frozen: watch::Receiver<bool>) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    // Small writes pass at once, as without us.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let never = watch::Sender::new(false);
    tokio::try_join!(pump(client_in, server_out, frozen), pump(server_in, client_out, never.subscribe()))?;
    Ok(())
}

/// Passes on until the sender has finished, then says so to the receiver. Waits while frozen.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut frozen: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = from.read(&mut chunk).await?;
        // The proxy is being dropped if its end of this is gone, and we with it.
        let _ = frozen.wait_for(|frozen| !*frozen).await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..length]).await?;
    }
}
