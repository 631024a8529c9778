//! One attempt to connect, which leaves nothing behind when it is given up.
//!
//! lapin connects on a thread of its own and knows no deadline: with a broker that accepts and says nothing, thread and
//! socket would stay for as long as it is frozen, and each attempt would add some. So the socket is known here too, and
//! is shut when the attempt is dropped; lapin takes that for the end of the connection.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard};

use async_compat::Compat;
use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use tokio::sync::Notify;

/// Given up when it is dropped.
#[derive(Default)]
pub(super) struct Attempt(Arc<Shared>);

#[derive(Default)]
struct Shared {
    given_up: Notify,
    socket: Mutex<Socket>,
}

/// The socket of an attempt.
#[derive(Default)]
enum Socket {
    /// None yet, or it is the connection's by now.
    #[default]
    Free,
    /// The attempt uses it. A second handle on it.
    InUse(TcpStream),
    /// The attempt was given up.
    GivenUp,
}

impl Attempt {
    /// Connects. Given up by dropping what it returns.
    pub(super) async fn connect(
        self,
        uri: AMQPUri,
        properties: ConnectionProperties,
        believed: OwnedTLSConfig,
    ) -> lapin::Result<Connection> {
        let runtime = lapin::runtime::default_runtime()?;
        let shared = Arc::clone(&self.0);
        let connector = async move |uri: AMQPUri, _| {
            let opening = async {
                let host = uri.authority.host.as_str();
                let stream = tokio::net::TcpStream::connect((host, uri.authority.port)).await?;
                // As lapin does: it writes whole frames.
                stream.set_nodelay(true)?;
                shared.uses(&stream)?;
                let stream = AsyncTcpStream::Plain(Compat::new(stream));
                match uri.scheme {
                    AMQPScheme::AMQP => Ok(stream),
                    AMQPScheme::AMQPS => stream.into_tls(host, believed.as_ref()).await,
                }
            };
            tokio::select! {
                opened = opening => opened.map_err(lapin::Error::from),
                () = shared.given_up.notified() => Err(given_up().into()),
            }
        };
        let connected = Connection::connector(uri, runtime, connector, properties).await;
        // From here on lapin's own bounds hold: heartbeats end a connection whose peer is silent.
        *self.0.lock() = Socket::Free;
        connected
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Socket::InUse(socket) = std::mem::replace(&mut *self.0.lock(), Socket::GivenUp) {
            // One that is shut already is as good.
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.0.given_up.notify_one();
    }
}

impl Shared {
    fn uses(&self, stream: &impl AsFd) -> io::Result<()> {
        let mut socket = self.lock();
        if matches!(*socket, Socket::GivenUp) {
            return Err(given_up());
        }
        *socket = Socket::InUse(stream.as_fd().try_clone_to_owned()?.into());
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Socket> {
        self.socket.lock().expect("nobody panics while holding it")
    }
}

fn given_up() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the attempt to connect was given up")
}
