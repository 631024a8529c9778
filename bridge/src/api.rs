//! The interface as a document: every route is made together with what is said of it, so that
//! `/openapi.json` and `/docs` name what is served, and nothing else.
//!
//! Read `endpoint` for what can be said of a route, `document` for OpenAPI, `schemas` for the values in it, and `page`
//! for people. Nothing here looks at a request.
//!
//! The document is made by hand, over the schemas of the contract: 17 routes have 141 answers with 205 codes of
//! problems, whose texts, headers and statuses come from the table of codes and whose scopes from the door. Attributes
//! (`utoipa`) or closures (`aide`) would name each answer again at its handler, and would not make the page for people.

mod document;
pub(crate) mod endpoint;
mod html;
pub(crate) mod schemas;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use endpoint::{Answer, Endpoint};

/// The interface as it is published: the same for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Published {
    openapi: String,
    page: String,
}

impl Published {
    /// The interface of these endpoints.
    pub(crate) fn of(endpoints: &[Endpoint]) -> Self {
        let openapi = serde_json::to_string(&document::of(endpoints)).expect("strings and numbers always serialize");
        Self { openapi, page: html::of(endpoints) }
    }
}

/// What is said of the routes for those who watch over the bridge: `/healthz`, `/readyz` and `/metrics`.
pub(crate) fn health_endpoints() -> [Endpoint; 3] {
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
    [lives, serves, counts].map(|endpoint| endpoint.tag("Watching"))
}

/// What is said of the routes of the document and of the page.
pub(crate) fn own_endpoints() -> [Endpoint; 2] {
    let document = Answer::of(200, "The document").typed("application/json", json!({}));
    let page = Answer::of(200, "The page").typed(HTML, json!({"type": "string"}));
    [
        Endpoint::get("/openapi.json", "This interface as OpenAPI 3.1").tag("About").answers(document),
        Endpoint::get("/docs", "This interface as a page for people").tag("About").answers(page),
    ]
}

const HTML: &str = "text/html";

/// `GET /openapi.json`
pub(crate) async fn openapi(State(published): State<Arc<Published>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], published.openapi.clone()).into_response()
}

/// `GET /docs`. It brings its own style and needs no script, so that the browser can be told to load nothing.
pub(crate) async fn docs(State(published): State<Arc<Published>>) -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, published.page.clone()).into_response()
}
