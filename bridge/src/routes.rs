//! Which path leads where.
//!
//! Member ids stand at the first place of the path, as the users of the sample's interface know it. Some names at that
//! place are ours, so no member can be reached under them there: see `RESERVED` in `extract`.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::get;

use crate::api::endpoint::Endpoint;
use crate::api::{self, Published};
use crate::app::App;
use crate::limits::Limits;
use crate::middleware::{self, Middleware, RouteClass};
use crate::problem::{Code, Problem};
use crate::route::Route;
use crate::{auth, compat, exporter, health, v1};

/// Every route of the bridge.
pub(crate) fn router(app: &App) -> Router {
    let no_route = async || Problem::new(Code::NoSuchRoute, "nothing is served at this path");
    let no_method = async || Problem::new(Code::MethodNotAllowed, "see the header Allow");
    let layer = |class| from_fn_with_state((Arc::<Middleware>::from_ref(app), class), middleware::handle);
    routes(&Limits::from_ref(app))
        .into_iter()
        .fold(Router::new(), |router, route| {
            router.route(route.endpoint.path, route.handler.route_layer(layer(route.class)))
        })
        .fallback(no_route.layer(layer(RouteClass::Unrouted)))
        .method_not_allowed_fallback(no_method.layer(layer(RouteClass::Unrouted)))
        .with_state(app.clone())
}

/// Every route of a bridge of these limits, in the order in which people should read of them.
fn routes(limits: &Limits) -> Vec<Route> {
    let routes = [v1::routes(limits), compat::routes::routes(), health_routes(), api_routes()].into_iter().flatten();
    routes.map(|route| Route { endpoint: route.endpoint.admitting(auth::needed_scopes), ..route }).collect()
}

/// The interface as it is published.
pub(crate) fn published(limits: &Limits) -> Published {
    let endpoints: Vec<Endpoint> = routes(limits).into_iter().map(|route| route.endpoint).collect();
    Published::of(&endpoints)
}

/// None needs a slot among the requests: an overloaded bridge must still be able to say how it is.
fn health_routes() -> Vec<Route> {
    let [alive, ready, metrics] = api::health_endpoints();
    vec![
        Route::unbounded(alive, get(health::alive)),
        Route::unbounded(ready, get(health::ready)),
        Route::unbounded(metrics, get(exporter::metrics)),
    ]
}

fn api_routes() -> Vec<Route> {
    let [document, page] = api::own_endpoints();
    vec![Route::unbounded(document, get(api::openapi)), Route::unbounded(page, get(api::docs))]
}
