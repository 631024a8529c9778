//! What a process shows at `/metrics`, read as Prometheus would.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::http;

/// One answer of `/metrics`.
#[derive(Clone, Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Asks a process.
    pub async fn of(addr: SocketAddr) -> Self {
        Self(http::send(addr, "GET", "/metrics", &[], None).await.body)
    }

    /// Reads an answer.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The value of a series, labels included: `loyalty_worker_commands_total{outcome="dead"}`. None if it is absent.
    pub fn value(&self, series: &str) -> Option<f64> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().unwrap_or_else(|error| panic!("{error} in the line of {series}")))
    }

    /// The names that a query can ask for: those of the samples, without labels.
    pub fn names(&self) -> BTreeSet<&str> {
        let samples = self.0.lines().filter(|line| !line.starts_with('#'));
        samples.filter_map(|line| line.split(['{', ' ']).next()).filter(|name| !name.is_empty()).collect()
    }
}
