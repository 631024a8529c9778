//! Spans: what was done for a command, for how long, and what came of it, as a collector of traces shows them.
//!
//! One command, from a till's request to the email of its reward. Each span is the child of the one above it:
//!
//! | span | kind | from | to | knows its parent by |
//! |---|---|---|---|---|
//! | `POST /{member_id}/add_points/{points}` | server | the bridge lets the request in | its answer | the client's header `traceparent` |
//! | `publish loyalty.commands` | producer | it is handed to the publisher | its confirm | the value in hand |
//! | `process loyalty.commands` | consumer | a batch processor takes it | its acknowledgement | the message's header |
//! | `publish loyalty.emails` | producer | the relay hands it over | its confirm | the outbox's row |
//! | `process loyalty.emails` | consumer | it is delivered | its outcome is known | the message's header |
//! | `send email` | client | the email is written | the mail server's answer | the value in hand |
//!
//! An email that waits for another attempt goes on below its `process` with the `publish` to its retry queue, and so
//! again.
//!
//! - A trace begins where commands come in, at the bridge and at the batch processor, if they bring none. All else only
//!   goes on: no parent, no span. So health checks, events, sweeps and the command line make no traces of their own.
//! - A batch has no span. One transaction serves hundreds of traces, and a span belongs to one; each command's says how
//!   many it shared the transaction with. Its parent is therefore a value, never what a thread or a task is at: the
//!   reason why this is not made of `tracing`'s spans, which would also change every log line.
//! - A span that is dropped before its end was given up, which is an error.
//! - What it says is masked like a log line: no address leaves through here.
//! - Recording costs the points nothing while nobody asks for it: a span is then the context that came, sent on as it
//!   came. Without the feature `otel` there is nothing else.

pub mod messaging;
#[cfg(feature = "otel")]
mod recorded;
#[cfg(not(feature = "otel"))]
mod unrecorded;

use std::fmt::{Arguments, Display};

use crate::trace_context::TraceContext;
use recorded::Recorded;
#[cfg(not(feature = "otel"))]
use unrecorded as recorded;

#[cfg(feature = "otel")]
pub use recorded::record_with;

/// Something that takes time, on its way through a trace.
#[derive(Debug, Default)]
pub struct Span {
    /// Where what follows from it belongs: below this span if it is recorded, else where it would belong without.
    context: Option<TraceContext>,
    recorded: Option<Recorded>,
}

/// What a span is towards others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It answers a request.
    Server,
    /// It asks another server.
    Client,
    /// It puts a message on a queue.
    Producer,
    /// It works on a message of a queue.
    Consumer,
}

/// Whether spans are recorded in this process, so that what they would say is worth finding out.
pub fn are_recorded() -> bool {
    recorded::is_on()
}

impl Span {
    /// What came, sent on as it came.
    pub const fn passing(came: Option<TraceContext>) -> Self {
        Self { context: came, recorded: None }
    }

    /// Begins where commands come in: as part of the trace that came along, else of a new one.
    pub fn entering(kind: Kind, name: Arguments<'_>, came: Option<TraceContext>) -> Self {
        match recorded::begin(kind, name, came.as_ref()) {
            Some((recorded, context)) => Self { context: Some(context), recorded },
            None => Self::passing(came),
        }
    }

    /// Begins as part of the trace that came along, if one did.
    pub fn within(kind: Kind, name: Arguments<'_>, came: Option<TraceContext>) -> Self {
        match came {
            Some(came) => Self::entering(kind, name, Some(came)),
            None => Self::default(),
        }
    }

    /// Whether anybody will see it: not if nothing is recorded, or if the trace was not chosen to be.
    pub const fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Where what follows from it belongs.
    pub const fn context(&self) -> Option<&TraceContext> {
        self.context.as_ref()
    }

    /// Says something of it. Addresses are masked.
    pub fn says(&mut self, key: &'static str, value: &dyn Display) {
        if let Some(recorded) = &mut self.recorded {
            recorded.says(key, value);
        }
    }

    /// Says a number of it.
    pub fn counts(&mut self, key: &'static str, value: impl TryInto<i64>) {
        if let (Some(recorded), Ok(value)) = (&mut self.recorded, value.try_into()) {
            recorded.counts(key, value);
        }
    }

    /// It comes to nothing good: of which kind, a word out of few, and why. The first cause counts.
    pub fn fails(&mut self, kind: &dyn Display, why: &dyn Display) {
        if let Some(recorded) = &mut self.recorded {
            recorded.fails(kind, why);
        }
    }

    /// It is over.
    pub fn end(self) {
        if let Some(recorded) = self.recorded {
            recorded.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_nothing_is_recorded_what_came_is_sent_on_as_it_came() {
        let came = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Some("vendor=1"));
        for begin in [Span::entering, Span::within] {
            let span = begin(Kind::Consumer, format_args!("process"), came.clone());
            assert_eq!((span.context(), span.is_recorded()), (came.as_ref(), false));
            assert_eq!(begin(Kind::Consumer, format_args!("process"), None).context(), None);
        }
    }
}
