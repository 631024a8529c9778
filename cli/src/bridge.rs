//! `loyalty bridge`: the service that takes commands over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use loyalty_bridge::{BridgeSettings, Hosts, Limits, Metrics};
use loyalty_store::clock::Clock;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tracing::info;

use crate::Context;
use crate::auth_flags::AuthFlags;
use crate::exit::ExitStatus;
use crate::shutdown_signal::stop_on_signal;

/// Where the bridge listens unless told otherwise: for this machine only.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:5000";

/// Take commands over HTTP: a service for production
///
/// It puts each request on the queue as a command, waits up to two seconds for its receipt, and answers applied,
/// refused, or still on its way. Once a token exists (`loyalty token create`) every request needs one; until then it
/// listens on this machine only, unless --open says otherwise. It also serves /docs, which describes every request,
/// /metrics, /healthz and /readyz. SIGTERM answers what is under way and closes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  TOKEN=$(loyalty token create --scope publish,read)
  loyalty bridge --http 0.0.0.0:5000 &
  curl -X POST http://localhost:5000/ann/add_points/50 -H \"Authorization: Bearer $TOKEN\"")]
pub(crate) struct Bridge {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_ADDRESS, env = "LOYALTY_HTTP")]
    http: SocketAddr,
    #[command(flatten)]
    auth: AuthFlags,
    #[command(flatten)]
    names: Names,
}

/// The host names of a bridge.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Names {
    /// Host names and addresses that clients use for the bridge, separated by commas, besides localhost and the address
    /// where it listens. Without tokens it accepts no others; with tokens it accepts any unless this is given
    #[arg(long, value_name = "HOSTS", env = "LOYALTY_HOSTS")]
    hosts: Option<Hosts>,
}

impl Names {
    /// The names, none if none were given.
    pub(crate) fn hosts(self) -> Hosts {
        self.hosts.unwrap_or_default()
    }
}

impl Bridge {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let settings = BridgeSettings {
            amqp: context.settings.amqp()?,
            admission: self.auth.admission(self.http, &context.settings.database()?).await?,
            database: context.settings.database()?,
            hosts: self.names.hosts(),
            limits: Limits::default(),
            clock: Clock::default(),
        };
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let listener =
            TcpListener::bind(self.http).await.with_context(|| format!("could not listen on {}", self.http))?;
        info!(http.address = %listener.local_addr().context("the listener has no address")?, "Listening");
        loyalty_bridge::serve(settings, listener, metrics, Arc::new(registry), stop_on_signal()?).await?;
        info!("Stopped");
        Ok(ExitStatus::Success)
    }
}
