//! Which path leads where.
//!
//! Member ids stand at the first place of the path, as the users of the sample's interface know it. Some names at that
//! place are ours, so no member can be reached under them there: see [`RESERVED`].

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;

use crate::App;
use crate::api;
use crate::around::{Needs, around};
use crate::problem::{Code, Problem};

/// Paths of our own, and therefore no member ids where those stand first.
pub(crate) const RESERVED: [&str; 6] = ["healthz", "readyz", "metrics", "v1", "docs", "openapi.json"];

/// How the paths of our own interface begin.
pub(crate) const V1: &str = "/v1/";

/// Every route of the bridge.
pub(crate) fn router(app: Arc<App>) -> Router {
    let no_route = async || Problem::new(Code::NoSuchRoute, "nothing is served at this path");
    let no_method = async || Problem::new(Code::MethodNotAllowed, "see the header Allow");
    let with = |needs| from_fn_with_state((Arc::clone(&app), needs), around);
    api::routes(&app.limits)
        .into_iter()
        .fold(Router::new(), |router, route| {
            router.route(route.endpoint.path, route.handler.route_layer(with(route.needs)))
        })
        .fallback(no_route.layer(with(Needs::Nothing)))
        .method_not_allowed_fallback(no_method.layer(with(Needs::Nothing)))
        .with_state(app)
}
