//! What all requests share, made once. A handler takes the parts that it names as [`State`](axum::extract::State), and
//! nothing else: no part knows this module.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::FromRef;
use loyalty_producer::{Limits as Window, Producer, WhenBlocked};
use loyalty_store::clock::DatabaseClock;
use loyalty_store::pool::PlannerProfile;
use loyalty_store::{Pool, StoreError};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::api::Published;
use crate::auth::Authenticator;
use crate::clock;
use crate::exporter::Exporter;
use crate::health::Health;
use crate::host_guard::HostGuard;
use crate::in_flight::InFlight;
use crate::limits::{BatchSlots, Limits};
use crate::member_reader::MemberReader;
use crate::metrics::Metrics;
use crate::middleware::Middleware;
use crate::partition_probe::PartitionProbe;
use crate::receipts::Receipts;
use crate::settings::BridgeSettings;
use crate::submit::Submitter;

/// The parts. One pointer, since every request clones it; a handler clones those of its parts that it takes.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    limits: Limits,
    middleware: Arc<Middleware>,
    submitter: Arc<Submitter>,
    receipts: Arc<Receipts>,
    reader: Arc<MemberReader>,
    batch_slots: Arc<BatchSlots>,
    health: Arc<Health>,
    exporter: Arc<Exporter>,
    /// The interface as a document and as a page.
    published: Arc<Published>,
}

macro_rules! parts {
    ($($part:ident: $type:ty),* $(,)?) => {$(
        impl FromRef<App> for Arc<$type> {
            fn from_ref(app: &App) -> Self {
                Arc::clone(&app.0.$part)
            }
        }
    )*};
}

parts! {
    middleware: Middleware,
    submitter: Submitter,
    receipts: Receipts,
    reader: MemberReader,
    batch_slots: BatchSlots,
    health: Health,
    exporter: Exporter,
    published: Published,
}

impl FromRef<App> for Limits {
    fn from_ref(app: &App) -> Self {
        app.0.limits
    }
}

impl App {
    /// Starts the parts, which end with it, and the keeping of the clock, which ends with `shutdown`.
    pub(crate) fn start(
        settings: BridgeSettings,
        address: SocketAddr,
        metrics: Metrics,
        registry: Arc<Registry>,
        published: Published,
        shutdown: &CancellationToken,
    ) -> Result<Self, StoreError> {
        let BridgeSettings { amqp, database, admission, hosts, limits, clock } = settings;
        let pool =
            Pool::with_timeout(&database, PlannerProfile::Keys, limits.database_connections, limits.read_timeout)?;
        let searches = Pool::with_timeout(&database, PlannerProfile::Queries, limits.searches, limits.search_timeout)?;
        let partitions = Arc::new(PartitionProbe::start(amqp.clone()));
        let producer = Producer::start(amqp, "bridge", window(&limits));
        let auth = Arc::new(Authenticator::start(admission, pool.clone(), limits.read_timeout));
        let receipts = Arc::new(Receipts::start(&pool, &limits, metrics.clone()));
        let clock = Arc::new(DatabaseClock::beside(clock));
        tokio::spawn(clock::keep(Arc::clone(&clock), pool.clone(), shutdown.clone()));
        let submitter = Submitter {
            producer: producer.clone(),
            partitions: Arc::clone(&partitions),
            receipts: Arc::clone(&receipts),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            in_flight: InFlight::default(),
        };
        let host_guard = HostGuard::new(hosts, address);
        Ok(Self(Arc::new(Parts {
            middleware: Arc::new(Middleware::new(Arc::clone(&auth), host_guard, &limits, metrics.clone())),
            submitter: Arc::new(submitter),
            receipts,
            reader: Arc::new(MemberReader::new(pool.clone(), searches, &limits)),
            batch_slots: Arc::new(BatchSlots::new(&limits)),
            exporter: Arc::new(Exporter {
                metrics,
                registry,
                producer: producer.clone(),
                partitions: Arc::clone(&partitions),
                clock: Arc::clone(&clock),
            }),
            health: Arc::new(Health { producer, partitions, clock, pool, read_timeout: limits.read_timeout, auth }),
            published: Arc::new(published),
            limits,
        })))
    }
}

/// Somebody stands at the till.
fn window(limits: &Limits) -> Window {
    Window {
        window: limits.requests,
        confirm_timeout: limits.confirm_timeout,
        when_blocked: WhenBlocked::FailFast,
        ..Window::default()
    }
}
