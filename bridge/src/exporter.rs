//! `GET /metrics`: what the bridge counted, for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use loyalty_producer::Producer;
use loyalty_store::clock::DatabaseClock;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::metrics::Metrics;
use crate::partition_probe::PartitionProbe;

/// The content type of the text format of `OpenMetrics`.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counters, and what is read only when somebody asks for them.
#[derive(Debug)]
pub(crate) struct Exporter {
    pub(crate) metrics: Metrics,
    pub(crate) registry: Arc<Registry>,
    pub(crate) producer: Producer,
    pub(crate) partitions: Arc<PartitionProbe>,
    pub(crate) clock: Arc<DatabaseClock>,
}

/// `GET /metrics`
pub(crate) async fn metrics(State(exporter): State<Arc<Exporter>>) -> Response {
    exporter.metrics.look_at(&exporter.producer.stats(), &exporter.partitions);
    exporter.metrics.clock_is(exporter.clock.offset());
    let mut text = String::new();
    match encode(&mut text, &exporter.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
