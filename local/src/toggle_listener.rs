//! A listening socket that can be closed and opened again on the same address while the program runs.
//!
//! Closed, it is really closed: a client is refused by the kernel, as with a server that is down.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::ports;

/// A pause after a failed accept: it fails for want of file descriptors, which a busy loop would not bring back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One who opens or closes waits for the answer, so no more than this wait at a time.
const ORDERS: usize = 8;

/// An order to be open or closed, and where the answer goes.
type Order = (bool, oneshot::Sender<io::Result<()>>);

/// The address and whether anybody listens there. Dropping it closes it for good.
#[derive(Debug)]
pub(crate) struct ToggleListener {
    address: SocketAddr,
    orders: mpsc::Sender<Order>,
    _close: DropGuard,
}

impl ToggleListener {
    /// Opens `port`, or a free one, on 127.0.0.1. Each visitor is handed to `welcome`, which must not block.
    pub(crate) async fn open(port: Option<u16>, welcome: impl FnMut(TcpStream) + Send + 'static) -> io::Result<Self> {
        let listener = listen(port).await?;
        let address = listener.local_addr()?;
        let (orders, inbox) = mpsc::channel(ORDERS);
        let closing = CancellationToken::new();
        tokio::spawn(closing.clone().run_until_cancelled_owned(keep(address, listener, inbox, welcome)));
        Ok(Self { address, orders, _close: closing.drop_guard() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens or closes, and answers when that is done.
    pub(crate) async fn set_open(&self, open: bool) -> io::Result<()> {
        let gone = || io::Error::other("the listening task has ended");
        let (answer, done) = oneshot::channel();
        self.orders.send((open, answer)).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }
}

async fn listen(port: Option<u16>) -> io::Result<TcpListener> {
    match port {
        Some(port) => TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await,
        None => listen_anywhere().await,
    }
}

/// Between finding a free port and taking it another process may take it; then another port is tried.
async fn listen_anywhere() -> io::Result<TcpListener> {
    // Two processes that look for ports at the same moment meet once, hardly ever five times.
    let mut attempts_left = 5;
    loop {
        attempts_left -= 1;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, ports::free(None)?)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts_left > 0 => {}
            result => return result,
        }
    }
}

async fn keep(
    address: SocketAddr,
    listener: TcpListener,
    mut inbox: mpsc::Receiver<Order>,
    mut welcome: impl FnMut(TcpStream),
) {
    let mut listener = Some(listener);
    loop {
        tokio::select! {
            order = inbox.recv() => {
                let Some((open, answer)) = order else { return };
                let result = turn(&mut listener, open, address).await;
                // Who no longer waits for the answer does not need it.
                let _ = answer.send(result);
            }
            visitor = accept(listener.as_ref()) => match visitor {
                Ok(visitor) => welcome(visitor),
                Err(error) => {
                    tracing::warn!(%error, "A connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn turn(listener: &mut Option<TcpListener>, open: bool, address: SocketAddr) -> io::Result<()> {
    *listener = match (listener.take(), open) {
        (Some(there), true) => Some(there),
        (None, true) => Some(TcpListener::bind(address).await?),
        (_, false) => None,
    };
    Ok(())
}

/// A closed listener has no visitors.
async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}
