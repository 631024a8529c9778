//! HTTP to queue: a request becomes a command, the command is published, and its receipt is the answer.
//!
//! Read in this order: [`submit`] publishes a command and finds what is known of it, through [`receipts`], which ask
//! for the outcomes of all commands under way together. Two interfaces stand on these: [`compat`] is the one that users
//! of the sample know, [`v1`] is ours. [`auth`] says who asks; [`problem`] is the answer when something is wrong;
//! [`middleware`] is what happens around every request. [`app`] makes these parts, [`routes`] says which path leads
//! where. The bridge changes no balance and decides no rule: whoever publishes is treated alike.

mod api;
mod app;
mod auth;
mod clock;
mod command_problem;
mod compat;
mod exporter;
mod extract;
mod health;
mod host_guard;
mod idempotency_key;
mod in_flight;
mod limits;
mod member_reader;
mod metrics;
mod middleware;
mod partition_probe;
mod problem;
mod readiness;
mod receipts;
mod request_body;
mod request_span;
mod route;
mod routes;
mod server;
mod settings;
mod submit;
#[cfg(test)]
mod tests;
mod v1;
mod write_timeout;

use std::sync::Arc;

use loyalty_store::StoreError;
use loyalty_store::pool::{look_for_shared_sessions, shared_sessions_later};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use auth::AuthMode;
pub use host_guard::{Hosts, HostsError};
pub use limits::Limits;
pub use metrics::Metrics;
pub use readiness::Readiness;
pub use settings::BridgeSettings;

use app::App;

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
    let published = routes::published(&limits);
    let app = App::start(settings, address, metrics, registry, published, &shutdown)?;
    let serving = server::run(listener, routes::router(&app), &limits, &shutdown);
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
