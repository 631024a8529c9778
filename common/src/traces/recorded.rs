//! A span as OpenTelemetry's API has it. What becomes of it when it ends, whoever called [`record_with`] knows.

use std::fmt::{self, Arguments, Display};
use std::sync::OnceLock;

use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};

use super::Kind;
use crate::email_address::mask;
use crate::trace_context::TraceContext;

/// Who records the spans of this process. Like its log, there is one.
static TRACER: OnceLock<BoxedTracer> = OnceLock::new();

/// Records the spans of this process from now on. Later calls do nothing.
pub fn record_with(tracer: BoxedTracer) {
    // An error means that spans are recorded already.
    let _ = TRACER.set(tracer);
}

pub(super) fn is_on() -> bool {
    TRACER.get().is_some()
}

/// A span that will be seen.
pub(super) struct Recorded {
    /// None once it has ended.
    span: Option<BoxedSpan>,
    failed: bool,
}

/// Begins a span, and says where what follows from it belongs. None, if nothing is recorded.
pub(super) fn begin(
    kind: Kind,
    name: Arguments<'_>,
    came: Option<&TraceContext>,
) -> Option<(Option<Recorded>, TraceContext)> {
    let tracer = TRACER.get()?;
    let parent = came.and_then(remote).map_or_else(Context::new, |came| Context::new().with_remote_span_context(came));
    let builder = tracer.span_builder(name.to_string()).with_kind(kind.into());
    let span = tracer.build_with_context(builder, &parent);
    match (span.is_recording(), came) {
        // Nobody will know this span, so what follows names the last one that somebody knows.
        (false, Some(came)) => Some((None, came.clone())),
        // That this trace is not recorded holds for all who take part in it.
        (false, None) => Some((None, local(span.span_context(), None)?)),
        (true, came) => {
            let context = local(span.span_context(), came)?;
            Some((Some(Recorded { span: Some(span), failed: false }), context))
        }
    }
}

/// The context that came, as the API has it. The state of other vendors is carried by us, not by the API, which would
/// not take all that the standard allows.
fn remote(came: &TraceContext) -> Option<SpanContext> {
    let mut parts = came.traceparent().split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    Some(SpanContext::new(trace, span, TraceFlags::new(flags), true, TraceState::NONE))
}

/// The context of a span of ours, as it travels.
fn local(span: &SpanContext, came: Option<&TraceContext>) -> Option<TraceContext> {
    let (trace, id, flags) = (span.trace_id(), span.span_id(), span.trace_flags().to_u8());
    TraceContext::parse(&format!("00-{trace}-{id}-{flags:02x}"), came.and_then(TraceContext::tracestate))
}

impl Recorded {
    pub(super) fn says(&mut self, key: &'static str, value: &dyn Display) {
        self.has(KeyValue::new(key, mask(&value.to_string())));
    }

    pub(super) fn counts(&mut self, key: &'static str, value: i64) {
        self.has(KeyValue::new(key, value));
    }

    pub(super) fn fails(&mut self, kind: &dyn Display, why: &dyn Display) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        self.says("error.type", kind);
        if let Some(span) = &mut self.span {
            span.set_status(Status::error(mask(&why.to_string())));
        }
    }

    pub(super) fn end(mut self) {
        if let Some(mut span) = self.span.take() {
            span.end();
        }
    }

    fn has(&mut self, attribute: KeyValue) {
        if let Some(span) = &mut self.span {
            span.set_attribute(attribute);
        }
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if self.span.is_some() {
            self.fails(&"given_up", &"it was given up before its end");
        }
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorded")
    }
}

impl From<Kind> for SpanKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Server => Self::Server,
            Kind::Client => Self::Client,
            Kind::Producer => Self::Producer,
            Kind::Consumer => Self::Consumer,
        }
    }
}
