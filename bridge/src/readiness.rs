//! How a service says whether it can serve: the answer of `/readyz`, a bridge's and a worker's.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What is amiss. Nothing, if all is well.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Readiness {
    /// What keeps the service from serving.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// What does not, and must be seen to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
    /// Where and why, for operators.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// The answer as it is spelt.
#[derive(Serialize)]
struct Answer {
    status: &'static str,
    #[serde(flatten)]
    readiness: Readiness,
}

impl IntoResponse for Readiness {
    fn into_response(self) -> Response {
        let (status_code, status) = match (self.missing.as_slice(), self.degraded.as_slice()) {
            ([], []) => (StatusCode::OK, "ready"),
            ([], [_, ..]) => (StatusCode::OK, "degraded"),
            ([_, ..], _) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        };
        (status_code, Json(Answer { status, readiness: self })).into_response()
    }
}
