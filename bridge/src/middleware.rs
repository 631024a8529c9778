//! What happens around a request, from the outside in: it is counted and timed, its answer is kept out of caches, a panic
//! is caught; it must be meant for this bridge and come from no web page of others; its sender is let in, if the route
//! asks for that; and if it asks broker or database, it becomes part of a trace, takes one of the places, and ends in
//! time.
//!
//! One layer does it all. A layer of axum boxes the service and the future of what is inside, and every wake of a
//! request goes through all of them again: in six layers the same cost the bridge some 30 % more for each
//! request.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::{debug, error};

use crate::problem::{Code, Problem};
use crate::{App, admission, traced};

/// What a request needs before it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needs {
    /// To be let in, and a place among the requests under way: it asks broker or database.
    Place,
    /// To be let in. It is answered whatever else is under way.
    Admission,
    /// Nothing: no route answers it, or none for its method.
    Nothing,
}

/// Answers a request. Balances must not be answered from a cache, so none may keep what is answered.
pub(crate) async fn around(State((app, needs)): State<(Arc<App>, Needs)>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, route) = (known_method(request.method()), pattern(&request));
    let answering = AssertUnwindSafe(answer(&app, needs, request, next)).catch_unwind();
    let mut response = answering.await.unwrap_or_else(panicked);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let (status, took) = (response.status(), began.elapsed());
    debug!(http.method = method, http.route = route, http.status = status.as_u16(), ?took, "Answered");
    app.metrics.answered(method, route, status, took);
    response
}

async fn answer(app: &App, needs: Needs, mut request: Request, next: Next) -> Response {
    if let Err(problem) = app.host_guard.check(&request, app.door.may_be_open()) {
        return problem.into_response();
    }
    if matches!(needs, Needs::Place | Needs::Admission)
        && let Err(problem) = admission::admit(app, &mut request).await
    {
        return problem.into_response();
    }
    match needs {
        // Who is not let in begins no trace, nor does whoever only asks how the bridge is.
        Needs::Place => traced::traced(request, |request| bounded(app, request, next)).await,
        Needs::Admission | Needs::Nothing => next.run(request).await,
    }
}

/// Turns a request away that would be one too many, and ends one that takes too long.
async fn bounded(app: &App, request: Request, next: Next) -> Response {
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

#[expect(clippy::needless_pass_by_value, reason = "what a caught panic comes as")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    error!(panic = text.unwrap_or("not a text"), "A request panicked");
    Problem::new(Code::Internal, "the bridge failed; what was asked may have been done").into_response()
}
