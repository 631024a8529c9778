//! The interface as a document: every route is made together with what is said of it, so that `/openapi.json` and
//! `/docs` name what is served, and nothing else.
//!
//! Read `endpoint` for what can be said of a route, `document` for OpenAPI, `schemas` for the values in it, and `page`
//! for people. Nothing here looks at a request.
//!
//! The document is made by hand, over the schemas of the contract: 17 routes have 141 answers with 205 codes of problems,
//! whose texts, headers and statuses come from the table of codes and whose scopes from the door. Attributes (`utoipa`)
//! or closures (`aide`) would name each answer again at its handler, and would not make the page for people.

mod document;
mod endpoint;
mod page;
pub(crate) mod schemas;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;

use crate::around::Needs;
use crate::limits::Limits;
use crate::{App, admission, health, sample, v1};
pub(crate) use endpoint::{Answer, Endpoint, Parameter, header_of, path, query, reference};

/// The media type of problems.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// A route: what is said of it, and who answers.
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    pub(crate) handler: MethodRouter<Arc<App>>,
    pub(crate) needs: Needs,
}

impl Route {
    /// A route that asks broker or database.
    pub(crate) const fn new(endpoint: Endpoint, handler: MethodRouter<Arc<App>>) -> Self {
        Self { endpoint, handler, needs: Needs::Place }
    }

    /// A route that is answered whatever else is under way: an overloaded bridge must still be able to say how it is.
    pub(crate) const fn unbounded(endpoint: Endpoint, handler: MethodRouter<Arc<App>>) -> Self {
        Self { endpoint, handler, needs: Needs::Admission }
    }
}

/// Every route of a bridge of these limits, in the order in which people should read of them.
pub(crate) fn routes(limits: &Limits) -> Vec<Route> {
    let routes = [v1::routes(limits), sample::routes(), health::routes(), own_routes()].into_iter().flatten();
    routes.map(|route| Route { endpoint: route.endpoint.admitting(admission::needed), ..route }).collect()
}

/// The interface as it is published: the same for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Published {
    openapi: String,
    page: String,
}

impl Published {
    /// The interface of a bridge of these limits.
    pub(crate) fn of(limits: &Limits) -> Self {
        let endpoints: Vec<Endpoint> = routes(limits).into_iter().map(|route| route.endpoint).collect();
        let openapi = serde_json::to_string(&document::of(&endpoints)).expect("strings and numbers always serialize");
        Self { openapi, page: page::of(&endpoints) }
    }
}

fn own_routes() -> Vec<Route> {
    let document = Endpoint::get("/openapi.json", "This interface as OpenAPI 3.1").tag("About");
    let page = Endpoint::get("/docs", "This interface as a page for people").tag("About");
    vec![
        Route::unbounded(
            document.answers(Answer::of(200, "The document").typed("application/json", serde_json::json!({}))),
            axum::routing::get(openapi),
        ),
        Route::unbounded(
            page.answers(Answer::of(200, "The page").typed(HTML, serde_json::json!({"type": "string"}))),
            axum::routing::get(docs),
        ),
    ]
}

const HTML: &str = "text/html";

async fn openapi(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.published.openapi.clone()).into_response()
}

/// It brings its own style and needs no script, so that the browser can be told to load nothing.
async fn docs(State(app): State<Arc<App>>) -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, app.published.page.clone()).into_response()
}
