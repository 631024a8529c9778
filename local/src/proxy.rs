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

use crate::toggle_listener::ToggleListener;

/// What is read at once. Held back while frozen: a client that writes on meets full buffers, as on a real network.
const CHUNK_BYTES: usize = 16 * 1024;

/// Why the proxy could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Its port could not be opened or closed.
    #[error("cannot open the proxy's port")]
    Port(#[source] io::Error),
}

/// Whether what clients send passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// Until one of them sends this.
    OpenUntil(&'static str),
    Frozen,
}

/// A running relay. Dropping it closes the port and all connections.
#[derive(Debug)]
pub struct Proxy {
    listener: ToggleListener,
    gate: watch::Sender<Gate>,
    cuts: watch::Sender<u64>,
    _close: DropGuard,
}

impl Proxy {
    /// Starts a relay to `upstream` on a free port of 127.0.0.1.
    pub async fn start(upstream: SocketAddr) -> Result<Self, ProxyError> {
        let (gate, cuts, closing) = (watch::Sender::new(Gate::Open), watch::Sender::new(0), CancellationToken::new());
        let (entrance, cut, closed) = (gate.clone(), cuts.subscribe(), closing.clone());
        let welcome = move |client| {
            let (entrance, closed, mut cut) = (entrance.clone(), closed.clone(), cut.clone());
            // Earlier cuts were meant for others.
            cut.mark_unchanged();
            tokio::spawn(async move {
                tokio::select! {
                    () = closed.cancelled() => {}
                    _ = cut.changed() => {}
                    end = relay(client, upstream, entrance) => if let Err(error) = end {
                        tracing::debug!(%error, "A relayed connection broke");
                    }
                }
            });
        };
        let listener = ToggleListener::open(None, welcome).await.map_err(ProxyError::Port)?;
        Ok(Self { listener, gate, cuts, _close: closing.drop_guard() })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Holds back what clients send from now on. Connections stay open, and answers still pass.
    pub fn freeze_upstream(&self) {
        self.gate.send_replace(Gate::Frozen);
    }

    /// The same from the moment a client sends `text`, which is held back already. It must not be so long that it
    /// comes in two parts.
    pub fn freeze_upstream_at(&self, text: &'static str) {
        self.gate.send_replace(Gate::OpenUntil(text));
    }

    /// Lets everything that was held back go.
    pub fn thaw(&self) {
        self.gate.send_replace(Gate::Open);
    }

    /// Drops all connections now.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Closes the port: new clients are refused, open connections stay.
    pub async fn refuse(&self) -> Result<(), ProxyError> {
        self.listener.set_open(false).await.map_err(ProxyError::Port)
    }

    /// Opens the port again.
    pub async fn accept(&self) -> Result<(), ProxyError> {
        self.listener.set_open(true).await.map_err(ProxyError::Port)
    }
}

impl Gate {
    /// Closes at what it waits for. Answers whether it did.
    fn meets(&mut self, sent: &[u8]) -> bool {
        let Self::OpenUntil(text) = *self else { return false };
        let is_met = sent.windows(text.len()).any(|part| part == text.as_bytes());
        if is_met {
            *self = Self::Frozen;
        }
        is_met
    }
}

async fn relay(client: TcpStream, upstream: SocketAddr, gate: watch::Sender<Gate>) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    // Small writes pass at once, as without us.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let open = watch::Sender::new(Gate::Open);
    tokio::try_join!(pump(client_in, server_out, gate), pump(server_in, client_out, open))?;
    Ok(())
}

/// Passes on until the sender has finished, then says so to the receiver. Waits while frozen.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    gate: watch::Sender<Gate>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = from.read(&mut chunk).await?;
        gate.send_if_modified(|gate| gate.meets(&chunk[..length]));
        // It cannot be gone: we hold an end of it ourselves.
        let _ = gate.subscribe().wait_for(|gate| *gate != Gate::Frozen).await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..length]).await?;
    }
}
