//! `loyalty worker`: the service that applies commands and sends emails.

use std::net::SocketAddr;

use anyhow::Context as _;
use loyalty_worker::Metrics;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::Context;
use crate::exit::ExitStatus;
use crate::metrics_server;
use crate::shutdown_signal::stop_on_signal;

/// Apply commands and send emails: a service for production
///
/// Start as many as you like, on as many machines: they share the sixteen partitions among themselves, and another takes
/// over when one ends (`loyalty workers` shows it). A server that is away is waited for. SIGTERM drains: what is in flight is finished,
/// committed and acknowledged within 20 seconds. Run `loyalty migrate` and `loyalty topology` before the first start
/// and after each update. Without a mail server (LOYALTY_SMTP_URL) the emails wait in their queue.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  LOYALTY_LOG_FORMAT=json loyalty worker --metrics 0.0.0.0:9090")]
pub(crate) struct Worker {
    /// Serve /metrics (for Prometheus), /healthz and /readyz here; by default nowhere
    #[arg(long, value_name = "ADDRESS", env = "LOYALTY_METRICS")]
    metrics: Option<SocketAddr>,
}

impl Worker {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let settings = settings(context)?;
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let (consuming, consumes) = watch::channel(false);
        let stop = stop_on_signal()?;
        // Ends with the process: while the worker drains, its metrics are still of interest.
        let observed = CancellationToken::new();
        let _ends = observed.clone().drop_guard();
        if let Some(address) = self.metrics {
            let listener = TcpListener::bind(address).await;
            let listener = listener.with_context(|| format!("could not listen on {address}"))?;
            info!(metrics.address = %listener.local_addr().context("the listener has no address")?, "Serving metrics");
            tokio::spawn(metrics_server::serve(listener, registry, consumes, metrics.clone(), observed));
        }
        loyalty_worker::run(settings, metrics, consuming, stop).await?;
        info!("Stopped");
        Ok(ExitStatus::Success)
    }
}

/// What a worker is run with.
fn settings(context: &Context) -> anyhow::Result<loyalty_worker::Settings> {
    let config = context.settings.config()?;
    let mut mail = config.mail.clone();
    mail.smtp = context.settings.smtp(&config)?;
    // Here as well, since nothing listens yet.
    mail.check()?;
    let limits = config.limits();
    Ok(loyalty_worker::Settings {
        amqp: context.settings.amqp()?,
        database: context.settings.database()?,
        programme: config.programme,
        events: config.events,
        mail,
        limits,
    })
}
