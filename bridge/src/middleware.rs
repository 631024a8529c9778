//! What happens around a request, from the outside in: it is counted and timed, its answer is kept out of caches, a
//! panic is caught; it must be meant for this bridge and come from no web page of others; its sender is let in, if the
//! route asks for that; and if it asks broker or database, it becomes part of a trace, takes one of the slots, and ends
//! in time.
//!
//! One layer does it all. A layer of axum boxes the service and the future of what is inside, and every wake of a
//! request goes through all of them again: in six layers the same cost the bridge some 30 % more for each
//! request.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tracing::{debug, error};

use crate::auth::Authenticator;
use crate::host_guard::HostGuard;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::problem::{Code, Problem};
use crate::request_span::{self, known_method, route_pattern};

/// What the layer does for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteClass {
    /// It asks broker or database: authenticates, and takes a slot among the requests under way.
    Bounded,
    /// Authenticates only. It is answered whatever else is under way.
    Unbounded,
    /// Neither: no route answers it, or none for its method.
    Unrouted,
}

/// What the layer works with.
#[derive(Debug)]
pub(crate) struct Middleware {
    auth: Arc<Authenticator>,
    host_guard: HostGuard,
    /// A slot for each request that may be under way.
    request_slots: Semaphore,
    request_timeout: Duration,
    metrics: Metrics,
}

/// Answers a request. Balances must not be answered from a cache, so none may keep what is answered.
pub(crate) async fn handle(
    State((middleware, class)): State<(Arc<Middleware>, RouteClass)>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let (method, route) = (known_method(request.method()), route_pattern(&request));
    let answering = AssertUnwindSafe(middleware.answer(class, request, next)).catch_unwind();
    let mut response = answering.await.unwrap_or_else(panicked);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let (status, took) = (response.status(), began.elapsed());
    debug!(http.method = method, http.route = route, http.status = status.as_u16(), ?took, "Answered a request");
    middleware.metrics.answered(method, route, status, took);
    response
}

impl Middleware {
    pub(crate) fn new(auth: Arc<Authenticator>, host_guard: HostGuard, limits: &Limits, metrics: Metrics) -> Self {
        let (request_slots, request_timeout) = (Semaphore::new(limits.requests), limits.request_timeout);
        Self { auth, host_guard, request_slots, request_timeout, metrics }
    }

    async fn answer(&self, class: RouteClass, mut request: Request, next: Next) -> Response {
        if let Err(problem) = self.host_guard.check(&request, self.auth.may_be_open()) {
            return problem.into_response();
        }
        if class != RouteClass::Unrouted
            && let Err(problem) = self.auth.authenticate(&mut request).await
        {
            return problem.into_response();
        }
        match class {
            // Who is not let in begins no trace, nor does whoever only asks how the bridge is.
            RouteClass::Bounded => request_span::record(request, |request| self.bounded(request, next)).await,
            RouteClass::Unbounded | RouteClass::Unrouted => next.run(request).await,
        }
    }

    /// Turns a request away that would be one too many, and ends one that takes too long.
    async fn bounded(&self, request: Request, next: Next) -> Response {
        let Ok(_slot) = self.request_slots.try_acquire() else {
            return Problem::new(Code::Busy, "too many requests are under way; nothing was done").into_response();
        };
        match tokio::time::timeout(self.request_timeout, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                Problem::new(Code::TookTooLong, "it took too long; what was asked may have been done").into_response()
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what a caught panic comes as")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    error!(panic = text.unwrap_or("not a text"), "A request panicked");
    Problem::new(Code::Internal, "the bridge failed; what was asked may have been done").into_response()
}
