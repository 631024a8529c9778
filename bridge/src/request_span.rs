//! A request as a part of a trace: of that which its client began, or of one that begins here.

use axum::extract::Request;
use axum::http::{Extensions, HeaderMap};
use axum::response::Response;
use loyalty_common::traces::{Kind, Span};
use loyalty_producer::TraceContext;

use crate::around::{known_method, pattern};

/// Where what a request asks for belongs.
#[derive(Clone)]
struct Part(Option<TraceContext>);

/// Records a request. What it publishes is part of its span from here on.
pub(crate) async fn traced(mut request: Request, answer: impl AsyncFnOnce(Request) -> Response) -> Response {
    let (method, route) = (known_method(request.method()), pattern(&request));
    let mut span = Span::entering(Kind::Server, format_args!("{method} {route}"), came(request.headers()));
    span.says("http.request.method", &method);
    // Not the path, which would say who the member is, in a spelling of the client's choice.
    span.says("http.route", &route);
    span.says("url.scheme", &"http");
    request.extensions_mut().insert(Part(span.context().cloned()));
    let response = answer(request).await;
    let status = response.status();
    span.counts("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.fails(&status.as_u16(), &status);
    }
    span.end();
    response
}

/// Where what the request asks for belongs, if it is part of a trace.
pub(crate) fn part(extensions: &Extensions) -> Option<TraceContext> {
    extensions.get::<Part>().and_then(|part| part.0.clone())
}

/// The trace that the client sent along.
fn came(headers: &HeaderMap) -> Option<TraceContext> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    TraceContext::parse(text("traceparent")?, text("tracestate"))
}
