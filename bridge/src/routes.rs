//! Which path leads where, and what holds for all of them.
//!
//! Member ids stand at the first place of the path, as the users of the sample's interface know it. Some names at that
//! place are ours, so no member can be reached under them there: see [`RESERVED`].

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{debug, error};

use crate::api::Route;
use crate::problem::{Code, Problem};
use crate::traced::traced;
use crate::{App, admission, api};

/// Paths of our own, and therefore no member ids where those stand first.
pub(crate) const RESERVED: [&str; 6] = ["healthz", "readyz", "metrics", "v1", "docs", "openapi.json"];

/// How the paths of our own interface begin.
pub(crate) const V1: &str = "/v1/";

/// Every route of the bridge.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (bounded_routes, own): (Vec<Route>, Vec<Route>) =
        api::routes(&app.limits).into_iter().partition(|route| route.bounded);
    let bounded_routes = all(bounded_routes)
        .route_layer(from_fn_with_state(Arc::clone(&app), bounded))
        // Who is not let in begins no trace, nor does whoever only asks how the bridge is.
        .route_layer(from_fn(traced));
    bounded_routes
        .merge(all(own))
        .route_layer(from_fn_with_state(Arc::clone(&app), admission::admit))
        .fallback(async || Problem::new(Code::NoSuchRoute, "nothing is served at this path"))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed, "see the header Allow"))
        .layer(DefaultBodyLimit::max(app.limits.body_bytes))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(&app), observed))
        .with_state(app)
}

fn all(routes: Vec<Route>) -> Router<Arc<App>> {
    routes.into_iter().fold(Router::new(), |router, route| router.route(route.endpoint.path, route.handler))
}

/// Turns a request away that would be one too many, and ends one that takes too long.
async fn bounded(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Ok(_place) = app.requests.try_acquire() else {
        return Problem::new(Code::Busy, "too many requests are under way; nothing was done").into_response();
    };
    match tokio::time::timeout(app.limits.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Problem::new(Code::TookTooLong, "it took too long; what was asked may have been done").into_response()
        }
    }
}

/// Counts, times and logs a request. Balances must not be answered from a cache, so none may keep them.
async fn observed(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = known_method(request.method());
    let route = pattern(&request);
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let (status, took) = (response.status(), began.elapsed());
    debug!(http.method = method, http.route = route, http.status = status.as_u16(), ?took, "Answered");
    app.metrics.answered(method, route, status, took);
    response
}

/// The pattern, not the path: members are many, and no business of whoever reads metrics.
pub(crate) fn pattern(request: &Request) -> String {
    request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned()
}

/// A client can make up methods; each would become a series of its own.
pub(crate) fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    error!(panic = text.unwrap_or("not a text"), "A request panicked");
    Problem::new(Code::Internal, "the bridge failed; what was asked may have been done").into_response()
}
