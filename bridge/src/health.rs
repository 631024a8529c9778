//! For those who watch over the bridge: whether it lives, whether it can serve, and what it counted.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use loyalty_common::publisher::chain;
use loyalty_producer::{ConnectionState, Refusal};
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;

use crate::App;
use crate::api::{Answer, Endpoint, Route};
use crate::partition_probe::PartitionProbe;

/// The content type of the text format of `OpenMetrics`.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes. None needs a place among the requests: an overloaded bridge must still be able to say how it is.
pub(crate) fn routes() -> Vec<Route> {
    let status = || json!({"type": "object", "required": ["status"]});
    let json = |status_code, description| Answer::of(status_code, description).typed("application/json", status());
    let lives = Endpoint::get("/healthz", "Whether the process lives").answers(json(200, "It does."));
    let serves = Endpoint::get("/readyz", "Whether commands can be published and members read")
        .answers(json(200, "They can. `degraded` names what is amiss all the same, if anything is."))
        .answers(json(
            503,
            "`missing` names what is; `details`, for a token with the scope `operate` only, says more.",
        ));
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

/// `GET /readyz`: commands can be published and members read. If not, it names what is missing; to operators, also
/// where and why. The database is asked for the time, so that a bridge that was ready once knows it.
pub(crate) async fn ready(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let (partitions_missing, partitions_out) = app.partitions_out();
    let missing = some_of([app.broker_missing(), app.database_missing().await, partitions_missing]);
    let degraded: Vec<Missing> = partitions_out.into_iter().chain(app.clock_degraded()).collect();
    let details = app.door.admits_operator(&headers).await;
    answer(&missing, &degraded, details)
}

/// Something that a bridge needs and lacks, or that is not as it should be.
#[derive(Debug)]
pub(crate) struct Missing {
    /// What, for whoever asks: never a host, a user, or anything else that names a part of the installation.
    pub(crate) words: String,
    /// Where and why, for operators.
    pub(crate) details: String,
}

impl Missing {
    pub(crate) fn new(server: &str, words: &str, details: &str) -> Self {
        Self { words: format!("{server}: {words}"), details: format!("{server}: {details}") }
    }

    /// What has no details that are not for everybody.
    fn plain(words: String) -> Self {
        Self { details: words.clone(), words }
    }
}

fn some_of<const N: usize>(checks: [Option<Missing>; N]) -> Vec<Missing> {
    checks.into_iter().flatten().collect()
}

/// The answer as it is spelt.
#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
}

/// What is missing keeps a bridge from serving; what is degraded does not, and must be seen to.
fn answer(missing: &[Missing], degraded: &[Missing], with_details: bool) -> Response {
    let (status_code, status) = match (missing, degraded) {
        ([], []) => (StatusCode::OK, "ready"),
        ([], [_, ..]) => (StatusCode::OK, "degraded"),
        ([_, ..], _) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let words = |of: &[Missing]| of.iter().map(|one| one.words.clone()).collect();
    let details = || missing.iter().chain(degraded).map(|one| one.details.clone()).collect();
    let details = if with_details { details() } else { Vec::new() };
    let body = Readiness { status, missing: words(missing), degraded: words(degraded), details };
    (status_code, Json(body)).into_response()
}

/// `GET /metrics`: for Prometheus.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    app.metrics.look_at(&app.producer.stats(), &app.partitions);
    app.metrics.clock_is(app.clock.offset());
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &app.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl App {
    fn broker_missing(&self) -> Option<Missing> {
        let link = self.producer.connection().borrow().clone();
        let words = match &link {
            ConnectionState::Up => return None,
            ConnectionState::Down(_) => "not connected",
            ConnectionState::Blocked(_) => "short of memory or disk",
            ConnectionState::Refused(Refusal::NoExchange(_)) => "the exchange is missing; run `loyalty topology`",
            ConnectionState::Refused(Refusal::Forbidden(_)) => "publishing is forbidden",
            ConnectionState::Refused(Refusal::Other(_)) => "refuses what is published",
        };
        Some(Missing::new("RabbitMQ", words, &link.to_string()))
    }

    /// That nothing can be published to any partition; otherwise, those that are out.
    fn partitions_out(&self) -> (Option<Missing>, Vec<Missing>) {
        let out = self.partitions.out();
        let missing = PartitionProbe::are_all_out(&out);
        let missing = missing.then(|| Missing::plain("RabbitMQ: no partition takes commands".to_owned()));
        (missing, out.iter().map(|out| Missing::plain(out.to_string())).collect())
    }

    async fn database_missing(&self) -> Option<Missing> {
        let late = "no answer in time";
        match timeout(self.limits.read_timeout, self.clock.ask(&self.pool)).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(Missing::new("PostgreSQL", error.in_short(), &chain(&error))),
            Err(_) => Some(Missing::new("PostgreSQL", late, late)),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn said(missing: &[Missing], degraded: &[Missing], with_details: bool) -> String {
        let response = answer(missing, degraded, with_details);
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        format!("{status} {}", String::from_utf8_lossy(&body))
    }

    #[tokio::test]
    async fn what_is_missing_makes_it_not_ready_and_what_is_degraded_does_not() {
        let broker = || Missing::new("RabbitMQ", "not connected", "not connected: no host mq.internal");
        let clock = || Missing::new("clock", "off by 5 minutes", "300 s ahead of db.internal");
        assert_eq!(said(&[], &[], true).await, r#"200 {"status":"ready"}"#);
        let degraded = r#"200 {"status":"degraded","degraded":["clock: off by 5 minutes"]}"#;
        assert_eq!(said(&[], &[clock()], false).await, degraded);
        insta::assert_snapshot!(
            said(&[broker()], &[clock()], true).await,
            @r#"503 {"status":"not ready","missing":["RabbitMQ: not connected"],"degraded":["clock: off by 5 minutes"],"details":["RabbitMQ: not connected: no host mq.internal","clock: 300 s ahead of db.internal"]}"#
        );
        let open = said(&[broker()], &[clock()], false).await;
        assert!(open.starts_with("503") && !open.contains("internal"), "{open}");
    }
}
