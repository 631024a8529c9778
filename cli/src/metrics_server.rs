//! A worker's metrics and health over HTTP: for Prometheus and for whoever restarts what hangs. Nothing else.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use loyalty_bridge::Readiness;
use loyalty_worker::Metrics;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// What the handlers show.
#[derive(Clone)]
struct Observed {
    registry: Arc<Registry>,
    consumes: watch::Receiver<bool>,
    worker: Metrics,
}

/// Serves `/metrics`, `/healthz` (the process runs) and `/readyz` (it takes commands, and which queues it cannot use)
/// until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    registry: Registry,
    consumes: watch::Receiver<bool>,
    worker: Metrics,
    stop: CancellationToken,
) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Observed { registry: Arc::new(registry), consumes, worker });
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
        error!(%error, "Metrics are no longer served");
    }
}

async fn metrics(State(observed): State<Observed>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &observed.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A worker that takes the commands of some partitions is of use: it says which queues are out, and stays ready.
/// Nothing that it decides hangs on its own clock.
async fn ready(State(observed): State<Observed>) -> Readiness {
    let queues_out = observed.worker.queue_states().out();
    let clock = observed.worker.clock().offset().filter(|offset| offset.is_off());
    let missing = (!*observed.consumes.borrow()).then(|| "it takes no commands".to_owned());
    Readiness {
        missing: missing.into_iter().collect(),
        degraded: queues_out.iter().map(ToString::to_string).chain(clock.map(|it| format!("clock: {it}"))).collect(),
        details: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_takes_no_commands_is_not_ready() {
        let mut registry = Registry::default();
        let worker = Metrics::new(&mut registry);
        let (consuming, consumes) = watch::channel(false);
        let observed = Observed { registry: Arc::new(registry), consumes, worker };
        let missing = async || ready(State(observed.clone())).await.missing;
        assert_eq!(missing().await, ["it takes no commands"]);
        consuming.send_replace(true);
        assert_eq!(missing().await, [""; 0]);
    }
}
