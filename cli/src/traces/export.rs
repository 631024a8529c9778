//! The way of spans to a collector: OpenTelemetry's SDK gathers them in a bounded queue and a thread of its own sends
//! them over OTLP, as protobuf over HTTP. Nobody who records a span ever waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response};
use loyalty_common::error_chain::chain;
use loyalty_common::tls::TlsError;
use loyalty_common::traces;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_http::HttpError;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::http_client::{HttpClient, HttpUrl};

/// How long an ending process may go on sending what is left. Orchestrators give half a minute for everything, of
/// which draining takes up to 20 seconds.
const FLUSH_MAX: Duration = Duration::from_secs(3);

/// How long a collector may take for one batch unless a variable says otherwise: what OpenTelemetry recommends.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A collector's answer: empty, or a few words about what it did not take.
const ANSWER_BYTES: usize = 64 * 1024;

/// Sends what is recorded until it is closed.
pub(super) struct Export(SdkTracerProvider);

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error("{variable} is {protocol:?}, and this binary speaks http/protobuf; a collector takes it at port 4318")]
    Protocol { variable: &'static str, protocol: String },
    #[error(transparent)]
    Certificates(#[from] TlsError),
    // Its own text may quote the address.
    #[error("OpenTelemetry's variables (OTEL_EXPORTER_OTLP_...) cannot be used")]
    Settings(ExporterBuildError),
}

impl Export {
    /// Records the spans of this process from now on, and sends them. The SDK reads the variables itself.
    pub(super) fn start(service: &'static str, collector: &HttpUrl) -> Result<Self, ExportError> {
        speaks_http()?;
        let client = HttpClient::new(collector)?;
        let collector = Collector {
            client,
            runtime: Handle::current(),
            answer_limit: answer_limit().unwrap_or(ANSWER_LIMIT),
            is_away: AtomicBool::new(false),
        };
        let exporter = SpanExporter::builder().with_http().with_http_client(collector);
        let exporter = exporter.with_protocol(Protocol::HttpBinary).build().map_err(ExportError::Settings)?;
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource(service)).build();
        let scope = InstrumentationScope::builder("loyalty").with_version(env!("CARGO_PKG_VERSION")).build();
        traces::record_with(BoxedTracer::new(Box::new(provider.tracer_with_scope(scope))));
        Ok(Self(provider))
    }

    /// Sends what is left.
    pub(super) async fn close(self) {
        // It blocks its thread, and sending needs the runtime's.
        let closed = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH_MAX)).await;
        if let Ok(Err(error)) = closed {
            warn!(%error, "The last traces were not sent");
        }
    }
}

fn speaks_http() -> Result<(), ExportError> {
    for variable in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        match crate::environment::text(variable).unwrap_or_default() {
            protocol if protocol.is_empty() => {}
            protocol if protocol == "http/protobuf" => return Ok(()),
            protocol => return Err(ExportError::Protocol { variable, protocol }),
        }
    }
    Ok(())
}

/// As the variables have it, in milliseconds.
fn answer_limit() -> Option<Duration> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
    names.into_iter().find_map(|name| crate::environment::text(name)?.parse().ok()).map(Duration::from_millis)
}

/// Who we are: what the variables say, and what they leave out.
fn resource(service: &'static str) -> Resource {
    let given = Resource::builder().build();
    let name = given.get(&Key::new("service.name"));
    let mut resource = Resource::builder();
    if name.is_none_or(|name| name.as_str().starts_with("unknown_service")) {
        resource = resource.with_service_name(service);
    }
    if given.get(&Key::new("service.version")).is_none() {
        resource = resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    }
    resource.build()
}

/// The SDK's way out.
#[derive(Debug)]
struct Collector {
    client: HttpClient,
    /// The SDK's thread is not one of a runtime, which the client needs.
    runtime: Handle,
    answer_limit: Duration,
    /// Whether it was, when last asked. A log has one line for each change.
    is_away: AtomicBool,
}

#[async_trait]
impl opentelemetry_http::HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, limit) = (self.client.clone(), self.answer_limit);
        let exchange = async move { timeout(limit, client.exchange(request.map(Full::new), ANSWER_BYTES)).await? };
        let answer = self.runtime.spawn(exchange).await?;
        self.tell(&answer);
        answer
    }
}

impl Collector {
    /// Tells when it goes, and when it is back.
    fn tell(&self, answer: &Result<Response<Bytes>, HttpError>) {
        let problem = match answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status())),
            Err(error) => Some(chain(error.as_ref())),
        };
        match (problem, self.is_away.load(Ordering::Relaxed)) {
            (Some(error), false) => {
                self.is_away.store(true, Ordering::Relaxed);
                warn!(error, "The collector does not accept traces; they are dropped until it does");
            }
            (None, true) => {
                self.is_away.store(false, Ordering::Relaxed);
                info!("The collector accepts traces again");
            }
            (Some(_), true) | (None, false) => {}
        }
    }
}
