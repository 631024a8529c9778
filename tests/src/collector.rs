//! A collector of traces, of this test alone: takes what services send over OTLP, and keeps it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{self, ResourceSpans};
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running collector. Dropping it closes its port.
#[derive(Debug)]
pub struct Collector {
    addr: SocketAddr,
    taken: Arc<Mutex<Vec<Bytes>>>,
    _close: DropGuard,
}

/// A span as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Who told it.
    pub service: String,
    pub name: String,
    /// What it is towards others.
    pub kind: &'static str,
    /// Its own id in hexadecimal.
    pub id: String,
    /// That of its parent; empty if it began the trace.
    pub parent: String,
    began: u64,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// What else is said of it.
    pub attributes: BTreeMap<String, String>,
}

impl Collector {
    /// Listens on a free port.
    pub async fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Listens where somebody looked for one already.
    pub async fn start_at(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.expect("a free port");
        let addr = listener.local_addr().expect("the listener's address");
        let (taken, close) = (Arc::default(), CancellationToken::new());
        let serving = serve(listener, Arc::clone(&taken));
        tokio::spawn(close.clone().run_until_cancelled_owned(serving));
        Self { addr, taken, _close: close.drop_guard() }
    }

    /// Its root, as `OTEL_EXPORTER_OTLP_ENDPOINT` names it.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The spans of a trace.
    pub fn trace(&self, trace_id: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|(trace, _)| trace == trace_id).map(|(_, span)| span).collect()
    }

    /// All spans, each with its trace.
    pub fn spans(&self) -> Vec<(String, Span)> {
        let taken = self.taken().clone();
        let requests = taken.into_iter().map(|body| ExportTraceServiceRequest::decode(body).expect("protobuf of OTLP"));
        requests.flat_map(|request| request.resource_spans).flat_map(of_resource).collect()
    }

    /// Whether a text was sent to it, anywhere in a message.
    pub fn knows(&self, text: &str) -> bool {
        self.taken().iter().any(|body| body.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Vec<Bytes>> {
        self.taken.lock().expect("nobody panics while holding it")
    }
}

/// The spans below a parent, one a line, children after their parents and deeper.
pub fn tree(spans: &[Span], parent: &str) -> String {
    let mut text = String::new();
    grow(&mut text, spans, parent, 0);
    text
}

fn grow(text: &mut String, spans: &[Span], parent: &str, depth: usize) {
    let mut children: Vec<&Span> = spans.iter().filter(|span| span.parent == parent).collect();
    children.sort_by_key(|span| span.began);
    for Span { service, name, kind, id, attributes, .. } in children {
        let failure = attributes.get("error.type").map(|kind| format!(", {kind}")).unwrap_or_default();
        let _ = writeln!(text, "{:indent$}{name} ({kind} of {service}{failure})", "", indent = 2 * depth);
        grow(text, spans, id, depth + 1);
    }
}

async fn serve(listener: TcpListener, taken: Arc<Mutex<Vec<Bytes>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let taken = Arc::clone(&taken);
        let service = service_fn(move |request| take(request, Arc::clone(&taken)));
        // It ends when its client goes.
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn take(request: Request<Incoming>, taken: Arc<Mutex<Vec<Bytes>>>) -> Result<Response<Empty<Bytes>>, Infallible> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let body = request.into_body().collect().await.expect("a whole body").to_bytes();
    taken.lock().expect("nobody panics while holding it").push(body);
    Ok(Response::new(Empty::new()))
}

fn of_resource(told: ResourceSpans) -> impl Iterator<Item = (String, Span)> {
    let resource = told.resource.map(|resource| texts(resource.attributes)).unwrap_or_default();
    let service = resource.get("service.name").cloned().unwrap_or_default();
    let spans = told.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(move |span| (hex(&span.trace_id), of_span(service.clone(), span)))
}

fn of_span(service: String, span: v1::Span) -> Span {
    let kind = match span.kind() {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal | SpanKind::Unspecified => "internal",
    };
    let failed = span.status.filter(|status| status.code() == v1::status::StatusCode::Error);
    Span {
        service,
        name: span.name,
        kind,
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        began: span.start_time_unix_nano,
        failure: failed.map(|status| status.message),
        attributes: texts(span.attributes),
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("no value of ours: {other:?}"),
    };
    let attribute = |KeyValue { key, value, .. }| Some((key, text(value?.value?)));
    attributes.into_iter().filter_map(attribute).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
