//! HTTP to queue: a request becomes a command, the command is published, and its receipt is the answer.
//!
//! Read in this order: [`asked`] reads a request; [`carry`] publishes its command and finds the answer; [`waiting`]
//! asks for the fates of all commands under way at once; [`answer`] and [`problem`] are what is said; `show` and
//! `health` only read. The bridge changes no balance and decides no rule: whoever publishes is treated alike.

mod answer;
mod asked;
mod body;
mod carry;
mod health;
mod limits;
mod metrics;
mod problem;
mod routes;
mod server;
mod show;
#[cfg(test)]
mod tests;
mod waiting;

use std::sync::Arc;

use loyalty_common::secret::SecretUrl;
use loyalty_producer::{Limits as Window, Producer};
use loyalty_store::pool::Use;
use loyalty_store::{Pool, StoreError};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use limits::Limits;
pub use metrics::Metrics;

use waiting::Waiting;

/// What a bridge needs to know.
#[derive(Clone, Debug)]
pub struct BridgeSettings {
    /// The broker.
    pub amqp: SecretUrl,
    /// The database.
    pub database: SecretUrl,
    /// What it may hold, and how long anything may take.
    pub limits: Limits,
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
    let BridgeSettings { amqp, database, limits } = settings;
    let pool = Pool::new(&database, Use::Keys, limits.database_connections)?;
    let window = Window { window: limits.requests, confirm_timeout: limits.confirm_timeout };
    let app = Arc::new(App {
        producer: Producer::start(amqp, "bridge", window),
        waiting: Waiting::start(pool.clone(), &limits, metrics.clone()),
        requests: Semaphore::new(limits.requests),
        pool,
        limits,
        metrics,
        registry,
    });
    server::run(listener, routes::router(app), &limits, &shutdown).await;
    Ok(())
}

/// Why a bridge could not run.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The settings make no sense to the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What all requests share.
#[derive(Debug)]
struct App {
    producer: Producer,
    pool: Pool,
    waiting: Waiting,
    /// A place for each request that may be under way.
    requests: Semaphore,
    limits: Limits,
    metrics: Metrics,
    registry: Arc<Registry>,
}
