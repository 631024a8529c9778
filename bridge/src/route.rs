//! A route: what is documented of it, who answers, and what the middleware does for it.

use axum::routing::MethodRouter;

use crate::api::endpoint::Endpoint;
use crate::app::App;
use crate::middleware::RouteClass;

/// A route of the bridge.
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    pub(crate) handler: MethodRouter<App>,
    pub(crate) class: RouteClass,
}

impl Route {
    /// A route that asks broker or database.
    pub(crate) const fn bounded(endpoint: Endpoint, handler: MethodRouter<App>) -> Self {
        Self { endpoint, handler, class: RouteClass::Bounded }
    }

    /// A route that is answered whatever else is under way: an overloaded bridge must still be able to say how it is.
    pub(crate) const fn unbounded(endpoint: Endpoint, handler: MethodRouter<App>) -> Self {
        Self { endpoint, handler, class: RouteClass::Unbounded }
    }
}
