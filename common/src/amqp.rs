//! Connecting to RabbitMQ, with a deadline and a name that an operator recognises in the broker's list, and noticing
//! the end of a connection.

mod attempt;

use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Event};

use crate::secret::SecretUrl;
use crate::tls::{self, TlsError, Untrusted};
use attempt::Attempt;

/// How long connecting may take, login included. A firewall that drops packets would hold us for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How soon both sides notice that the other is gone or frozen, unless the URL says otherwise (`?heartbeat=`): RabbitMQ
/// ends a connection after two to three times the seconds. Its own 60 would take minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// For what others do not wait for.
    Usual,
    /// For who consumes alone what others stand ready for. Anything shorter takes a busy machine for a frozen one.
    Quick,
}

impl Heartbeat {
    const fn seconds(self) -> u16 {
        match self {
            Self::Usual => 10,
            Self::Quick => 3,
        }
    }
}

/// Opens a connection. Recovery is left off: its owner drops a broken connection with all that hung on it and builds
/// a new one, since a half-recovered channel can lose prefetch or acknowledge the wrong message.
pub async fn connect(url: &SecretUrl, name: &str) -> Result<Connection, ConnectError> {
    connect_with(url, name, Heartbeat::Usual).await
}

/// The same, with another heartbeat.
pub async fn connect_with(url: &SecretUrl, name: &str, heartbeat: Heartbeat) -> Result<Connection, ConnectError> {
    let failed = |source| ConnectError::of(source, url);
    let properties = ConnectionProperties::default().with_connection_name(format!("loyalty {name}").into());
    // For amqps. The authorities of this machine are believed besides.
    let believed = OwnedTLSConfig { cert_chain: tls::private_authorities_pem(url)?, ..OwnedTLSConfig::default() };
    let connecting = Attempt::default().connect(with_heartbeat(url, heartbeat), properties, believed);
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected.map_err(failed),
        Err(_) => Err(ConnectError::TimedOut { url: url.clone() }),
    }
}

fn with_heartbeat(url: &SecretUrl, heartbeat: Heartbeat) -> AMQPUri {
    let mut uri = url.server().uri().clone();
    uri.query.heartbeat.get_or_insert(heartbeat.seconds());
    uri
}

/// Works with a connection for as long as it stands; once it is lost, the work is dropped where it is.
///
/// lapin never answers a request that reaches it while it takes leave of a lost connection, be it an acknowledgement or
/// a new channel. Work that waits for such an answer, and for nothing else, would wait for ever.
pub async fn while_connected<T>(connection: &Connection, work: impl Future<Output = T>) -> Result<T, lapin::Error> {
    tokio::select! {
        // What the work has to say of the loss is worth more.
        biased;
        done = work => Ok(done),
        error = lost(connection) => Err(error),
    }
}

/// Waits for the end of a connection, whoever ended it.
async fn lost(connection: &Connection) -> lapin::Error {
    let mut events = pin!(connection.events_listener());
    let mut reason = io::Error::from(io::ErrorKind::ConnectionAborted).into();
    // Asked only when somebody listens: the state changes before the event, and an event without a listener is lost.
    while connection.status().connected() {
        match events.next().await {
            // So does a channel tell of its end, which is not the connection's.
            Some(Event::Error(error)) => reason = error,
            // lapin may add kinds of events.
            Some(_) => {}
            None => break,
        }
    }
    reason
}

/// Closes a connection in good order; what it still had to write is written first. Bounded, since a dead peer never
/// answers.
pub async fn close(connection: &Connection) {
    const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
    let closing = connection.close(REPLY_SUCCESS, "done".into());
    // A connection that cannot be closed is dropped, which closes it too.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
}

/// RabbitMQ could not be reached. The address is shown without its password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It refused, or could not be found.
    #[error("could not connect to RabbitMQ at {url}")]
    Failed {
        /// Where.
        url: SecretUrl,
        /// What went wrong.
        source: lapin::Error,
    },
    /// Its certificate is not believed.
    #[error("could not connect to RabbitMQ: {problem}")]
    Untrusted {
        /// Why, and what was expected.
        problem: Untrusted,
    },
    /// The file that says which certificates are believed is of no use.
    #[error(transparent)]
    Authorities(#[from] TlsError),
    /// It did not answer in time.
    #[error("RabbitMQ at {url} did not answer within 10 seconds")]
    TimedOut {
        /// Where.
        url: SecretUrl,
    },
}

impl ConnectError {
    fn of(source: lapin::Error, url: &SecretUrl) -> Self {
        match Untrusted::of(&source, url) {
            Some(problem) => Self::Untrusted { problem },
            None => Self::Failed { url: url.clone(), source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_names_no_heartbeat_gets_ours() {
        let of = |url: &str, ours| with_heartbeat(&url.parse().expect("a URL"), ours).query.heartbeat;
        assert_eq!(of("amqp://ann:secret@host/shop", Heartbeat::Usual), Some(10));
        assert_eq!(of("amqp://ann:secret@host/shop", Heartbeat::Quick), Some(3));
        assert_eq!(of("amqp://host/shop?heartbeat=20", Heartbeat::Quick), Some(20));
    }
}
