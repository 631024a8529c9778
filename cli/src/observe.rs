//! A worker's metrics and health over HTTP: for Prometheus and for whoever restarts what hangs. Nothing else.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
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
}

/// Serves `/metrics`, `/healthz` (the process runs) and `/readyz` (it takes commands) until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    registry: Registry,
    consumes: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Observed { registry: Arc::new(registry), consumes });
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

async fn ready(State(observed): State<Observed>) -> (StatusCode, &'static str) {
    if *observed.consumes.borrow() {
        (StatusCode::OK, "taking commands\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not taking commands\n")
    }
}
