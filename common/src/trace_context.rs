//! Where in a distributed trace something happens, as plain text that travels with it (W3C Trace Context).

/// The most bytes of a `tracestate`: what every participant must be able to carry (W3C Trace Context, 3.3.1.5).
pub const TRACESTATE_MAX_BYTES: usize = 512;

/// Where in a distributed trace a command was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    traceparent: String,
    tracestate: Option<String>,
}

impl TraceContext {
    /// The context of the two HTTP headers. None if `traceparent` is not one, as the standard asks; a `tracestate`
    /// that is too long or not printable is left out.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let fits = |state: &&str| {
            (1..=TRACESTATE_MAX_BYTES).contains(&state.len()) && state.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        };
        is_traceparent(traceparent).then(|| Self {
            traceparent: traceparent.to_owned(),
            tracestate: tracestate.filter(fits).map(str::to_owned),
        })
    }

    /// The trace that all who took part in it share, for logs.
    pub fn trace_id(&self) -> &str {
        self.traceparent.split('-').nth(1).unwrap_or_default()
    }

    /// The header of that name.
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// The header of that name.
    pub fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_deref()
    }
}

/// `00-` trace id `-` parent id `-` flags, in lower-case hexadecimal; ids of zeros are invalid.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let id = |part: &str, length: usize| hex(part, length) && part.bytes().any(|byte| byte != b'0');
    matches!(parts[..], ["00", trace, parent, flags] if id(trace, 32) && id(parent, 16) && hex(flags, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_broken_trace_context_is_no_trace_context() {
        let trace = TraceContext::parse(TRACEPARENT, None).expect("a trace");
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for wrong in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e47-36-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(wrong, None), None, "{wrong}");
        }
        let without_state = TraceContext::parse(TRACEPARENT, None);
        for wrong in ["", "a\nb", &"x".repeat(513)] {
            assert_eq!(TraceContext::parse(TRACEPARENT, Some(wrong)), without_state);
        }
    }
}
