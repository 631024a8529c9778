//! A request as a part of a trace: of that which its client began, or of one that begins here.

use axum::extract::{MatchedPath, Request};
use axum::http::{Extensions, HeaderMap, Method};
use axum::response::Response;
use loyalty_common::traces::{Kind, Span};
use loyalty_producer::TraceContext;

/// The trace that a request is part of.
#[derive(Clone)]
struct RequestTrace(Option<TraceContext>);

/// Records a request. What it publishes is part of its span from here on.
pub(crate) async fn record(mut request: Request, answer: impl AsyncFnOnce(Request) -> Response) -> Response {
    let (method, route) = (known_method(request.method()), route_pattern(&request));
    let mut span = Span::entering(Kind::Server, format_args!("{method} {route}"), sent_along(request.headers()));
    span.says("http.request.method", &method);
    // Not the path, which would say who the member is, in a spelling of the client's choice.
    span.says("http.route", &route);
    span.says("url.scheme", &"http");
    request.extensions_mut().insert(RequestTrace(span.context().cloned()));
    let response = answer(request).await;
    let status = response.status();
    span.counts("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.fails(&status.as_u16(), &status);
    }
    span.end();
    response
}

/// The trace that a request is part of, if it is.
pub(crate) fn trace_of(extensions: &Extensions) -> Option<TraceContext> {
    extensions.get::<RequestTrace>().and_then(|trace| trace.0.clone())
}

/// The trace that the client sent along.
fn sent_along(headers: &HeaderMap) -> Option<TraceContext> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    TraceContext::parse(text("traceparent")?, text("tracestate"))
}

/// The pattern, not the path: members are many, and no business of whoever reads metrics.
pub(crate) fn route_pattern(request: &Request) -> String {
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
