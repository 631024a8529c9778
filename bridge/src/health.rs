//! For those who watch over the bridge: whether it lives, and whether it can serve.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use loyalty_common::error_chain::chain;
use loyalty_producer::{ConnectionState, Producer, Refusal};
use loyalty_store::Pool;
use loyalty_store::clock::DatabaseClock;
use serde_json::json;
use tokio::time::timeout;

use crate::auth::Authenticator;
use crate::partition_probe::PartitionProbe;
use crate::readiness::Readiness;

/// What readiness depends on.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) producer: Producer,
    pub(crate) partitions: Arc<PartitionProbe>,
    pub(crate) clock: Arc<DatabaseClock>,
    pub(crate) pool: Pool,
    pub(crate) read_timeout: Duration,
    pub(crate) auth: Arc<Authenticator>,
}

/// `GET /healthz`: the process lives and answers. It asks nobody, so that an outage elsewhere restarts nothing here.
pub(crate) async fn alive() -> Response {
    Json(json!({"status": "alive"})).into_response()
}

/// `GET /readyz`: commands can be published and members read. If not, it names what is missing; to operators, also
/// where and why. The database is asked for the time, so that a bridge that was ready once knows it.
pub(crate) async fn ready(State(health): State<Arc<Health>>, headers: HeaderMap) -> Response {
    let (no_partition, partitions_out) = health.partitions_out();
    let missing = [health.broker_missing(), health.database_missing().await, no_partition];
    let missing: Vec<Missing> = missing.into_iter().flatten().collect();
    let degraded: Vec<Missing> = partitions_out.into_iter().chain(health.clock_degraded()).collect();
    let details = health.auth.admits_operator(&headers).await;
    answer(&missing, &degraded, details)
}

impl Health {
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
        match timeout(self.read_timeout, self.clock.ask(&self.pool)).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(Missing::new("PostgreSQL", error.in_short(), &chain(&error))),
            Err(_) => Some(Missing::new("PostgreSQL", late, late)),
        }
    }

    /// What is wrong with this machine's clock. It keeps nobody from being served.
    fn clock_degraded(&self) -> Option<Missing> {
        let offset = self.clock.offset().filter(|offset| offset.is_off())?;
        Some(Missing::new("clock", &offset.to_string(), &offset.to_string()))
    }
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

/// The details only for operators.
fn answer(missing: &[Missing], degraded: &[Missing], with_details: bool) -> Response {
    let words = |of: &[Missing]| of.iter().map(|one| one.words.clone()).collect();
    let details = missing.iter().chain(degraded).filter(|_| with_details).map(|one| one.details.clone()).collect();
    Readiness { missing: words(missing), degraded: words(degraded), details }.into_response()
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
