//! For those who watch over the bridge: whether it lives, whether it can serve, and what it counted.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use loyalty_common::publisher::chain;
use loyalty_producer::Link;
use serde_json::json;
use tokio::time::timeout;

use crate::App;
use crate::api::{Answer, Endpoint, Route};

/// The content type of the text format of `OpenMetrics`.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes. None needs a place among the requests: an overloaded bridge must still be able to say how it is.
pub(crate) fn routes() -> Vec<Route> {
    let status = || json!({"type": "object", "required": ["status"]});
    let json = |status_code, description| Answer::of(status_code, description).typed("application/json", status());
    let lives = Endpoint::get("/healthz", "Whether the process lives").answers(json(200, "It does."));
    let serves = Endpoint::get("/readyz", "Whether commands can be published and members read")
        .answers(json(200, "They can."))
        .answers(json(503, "Something is missing, and named."));
    let counts = Endpoint::get("/metrics", "Counters for Prometheus")
        .answers(Answer::of(200, "The counters.").typed("application/openmetrics-text", json!({"type": "string"})));
    vec![
        Route::unbounded(lives.tag(TAG), get(alive)),
        Route::unbounded(serves.tag(TAG), get(ready)),
        Route::unbounded(counts.tag(TAG), get(metrics)),
    ]
}

/// The heading of these routes.
const TAG: &str = "Watching";

/// `GET /healthz`: the process lives and answers. It asks nobody, so that an outage elsewhere restarts nothing here.
pub(crate) async fn alive() -> Response {
    Json(json!({"status": "alive"})).into_response()
}

/// `GET /readyz`: commands can be published and members read. If not, it names what is missing.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let missing: Vec<String> = [app.broker_missing(), app.database_missing().await].into_iter().flatten().collect();
    if missing.is_empty() {
        return Json(json!({"status": "ready"})).into_response();
    }
    let body = json!({"status": "not ready", "missing": missing});
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

/// `GET /metrics`: for Prometheus.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    app.metrics.look_at(&app.producer.traffic());
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &app.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl App {
    fn broker_missing(&self) -> Option<String> {
        match &*self.producer.link().borrow() {
            Link::Up => None,
            link @ (Link::Down(_) | Link::Blocked(_)) => Some(format!("RabbitMQ: {link}")),
        }
    }

    async fn database_missing(&self) -> Option<String> {
        match timeout(self.limits.read_timeout, self.pool.ping()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("PostgreSQL: {}", chain(&error))),
            Err(_) => Some("PostgreSQL: no answer in time".to_owned()),
        }
    }
}
