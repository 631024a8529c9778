//! The connections of one session with the broker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use lapin::Connection;
use loyalty_common::amqp::{self, ConnectError, Heartbeat};
use loyalty_common::secret::SecretUrl;

/// The connections of one session: one that all queues share, and one for each queue that has been out.
pub(crate) struct Connections<'a> {
    amqp: &'a SecretUrl,
    name: &'static str,
    heartbeat: Heartbeat,
    pub(crate) shared: Connection,
    /// Held by the queue that is tried on the connection that all share.
    pub(crate) opening: tokio::sync::Mutex<()>,
    own: Mutex<BTreeMap<String, Arc<Connection>>>,
}

impl<'a> Connections<'a> {
    pub(crate) async fn open(
        amqp: &'a SecretUrl,
        name: &'static str,
        heartbeat: Heartbeat,
    ) -> Result<Self, ConnectError> {
        let shared = amqp::connect_with(amqp, name, heartbeat).await?;
        Ok(Self { amqp, name, heartbeat, shared, opening: tokio::sync::Mutex::default(), own: Mutex::default() })
    }

    /// Closes all, before the consumers on them are dropped: dropping one cancels it, which would hand its queue to
    /// the next worker while deliveries of ours are unacknowledged.
    pub(crate) async fn close(&self) {
        let own: Vec<_> = std::mem::take(&mut *self.lock()).into_values().collect();
        let all = own.iter().map(AsRef::as_ref).chain([&self.shared]).map(amqp::close);
        futures_util::future::join_all(all).await;
    }

    pub(crate) async fn one_for(&self, queue: &str) -> Result<Arc<Connection>, ConnectError> {
        let connection = Arc::new(amqp::connect_with(self.amqp, self.name, self.heartbeat).await?);
        self.lock().insert(queue.to_owned(), Arc::clone(&connection));
        Ok(connection)
    }

    pub(crate) async fn close_own(&self, queue: &str) {
        let own = self.lock().remove(queue);
        if let Some(connection) = own {
            amqp::close(&connection).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Connection>>> {
        self.own.lock().expect("nobody panics while holding it")
    }
}
