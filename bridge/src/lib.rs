//! HTTP to queue: a request becomes a command, the command is published, and its receipt is the answer.
//!
//! Read in this order: [`carry`] publishes a command and finds what is known of it; [`lookup`] and [`waiting`] ask for
//! the fates of all commands under way at once. Two interfaces stand on these: [`sample`] with [`asked`] and [`answer`]
//! is the one that its users know, [`v1`] is ours. [`admission`] asks who is there; [`problem`] is what all say when
//! something is wrong; `show` and `health` only read. [`around`] is what happens around all of it. The bridge changes no
//! balance and decides no rule: whoever publishes is treated alike.

mod admission;
mod answer;
mod api;
mod around;
mod arrival;
mod asked;
mod body;
mod carry;
mod clock;
mod flying;
mod health;
mod host_guard;
mod key;
mod limits;
mod lookup;
mod metrics;
mod partition_probe;
mod path;
mod patient;
mod problem;
mod routes;
mod sample;
mod server;
mod show;
#[cfg(test)]
mod tests;
mod traced;
mod v1;
mod waiting;

use std::net::SocketAddr;
use std::sync::Arc;

use loyalty_common::secret::SecretUrl;
use loyalty_producer::{Limits as Window, Producer, WhenBlocked};
use loyalty_store::clock::{Clock, DatabaseClock};
use loyalty_store::pool::{DatabaseUrl, Use, look_for_shared_sessions, shared_sessions_later};
use loyalty_store::{Pool, StoreError};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use admission::Admission;
pub use host_guard::{Hosts, HostsError};
pub use limits::Limits;
pub use metrics::Metrics;

use admission::Door;
use api::Published;
use flying::Flying;
use host_guard::HostGuard;
use lookup::Lookup;
use partition_probe::PartitionProbe;
use waiting::Waiting;

/// What a bridge needs to know.
#[derive(Clone, Debug)]
pub struct BridgeSettings {
    /// The broker.
    pub amqp: SecretUrl,
    /// The database.
    pub database: DatabaseUrl,
    /// Whom it serves.
    pub admission: Admission,
    /// By which names it may be asked for, beside those of this machine and its own address.
    pub hosts: Hosts,
    /// What it may hold, and how long anything may take.
    pub limits: Limits,
    /// What it takes for the time while the database has not said it.
    pub clock: Clock,
}

/// Serves HTTP until `shutdown`, then answers what is under way and closes. Broker and database may be away at any
/// time, the start included. `metrics` were made from `registry`, which may hold those of others beside them.
pub async fn serve(
    settings: BridgeSettings,
    listener: TcpListener,
    metrics: Metrics,
    registry: Arc<Registry>,
    shutdown: CancellationToken,
) -> Result<(), BridgeError> {
    let database = settings.database.clone();
    let sessions = look_for_shared_sessions(&database).await?;
    let limits = settings.limits;
    let address = listener.local_addr().map_err(BridgeError::Listener)?;
    let app = Arc::new(App::new(settings, address, metrics, registry)?);
    tokio::spawn(clock::keep(Arc::clone(&app.clock), app.pool.clone(), shutdown.clone()));
    let serving = server::run(listener, routes::router(app), &limits, &shutdown);
    tokio::pin!(serving);
    tokio::select! {
        () = &mut serving => Ok(()),
        refused = shared_sessions_later(&database, sessions) => {
            shutdown.cancel();
            serving.await;
            Err(refused.into())
        }
    }
}

/// Why a bridge could not run.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The settings make no sense to the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody can reach it.
    #[error("the listener has no address")]
    Listener(#[source] std::io::Error),
}

/// What all requests share.
#[derive(Debug)]
struct App {
    producer: Producer,
    /// Which partitions are out.
    partitions: PartitionProbe,
    door: Door,
    host_guard: HostGuard,
    /// For reads by key.
    pool: Pool,
    /// The time that it stamps with.
    clock: Arc<DatabaseClock>,
    /// For searches among the members, which take longer.
    searches: Pool,
    lookup: Lookup,
    waiting: Waiting,
    flying: Flying,
    /// A place for each request that may be under way.
    requests: Semaphore,
    /// A place for each batch among them.
    batches: Semaphore,
    limits: Limits,
    /// The interface as a document and as a page.
    published: Published,
    metrics: Metrics,
    registry: Arc<Registry>,
}

impl App {
    fn new(
        settings: BridgeSettings,
        address: SocketAddr,
        metrics: Metrics,
        registry: Arc<Registry>,
    ) -> Result<Self, StoreError> {
        let BridgeSettings { amqp, database, admission, hosts, limits, clock } = settings;
        let Limits { requests, confirm_timeout, .. } = limits;
        // Somebody stands at the till.
        let window =
            Window { window: requests, confirm_timeout, when_blocked: WhenBlocked::FailFast, ..Window::default() };
        let pool = Pool::with_patience(&database, Use::Keys, limits.database_connections, limits.read_timeout)?;
        Ok(Self {
            partitions: PartitionProbe::start(amqp.clone()),
            producer: Producer::start(amqp, "bridge", window),
            searches: Pool::with_patience(&database, Use::Queries, limits.searches, limits.search_timeout)?,
            host_guard: HostGuard::new(hosts, address),
            door: Door::start(admission, pool.clone(), limits.read_timeout),
            lookup: Lookup::start(pool.clone(), &limits),
            waiting: Waiting::start(pool.clone(), &limits, metrics.clone()),
            flying: Flying::default(),
            requests: Semaphore::new(limits.requests),
            batches: Semaphore::new(limits.batches),
            pool,
            clock: Arc::new(DatabaseClock::beside(clock)),
            published: Published::of(&limits),
            limits,
            metrics,
            registry,
        })
    }
}
