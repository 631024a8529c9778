//! The headers of a command's message that mean something: those of W3C Trace Context.

use serde_json::{Value, json};

use crate::envelope::TRACESTATE_MAX_BYTES;

/// JSON Schema of the header table.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "description": "Others are carried and kept with a message that is set aside, and mean nothing. Never send \
            CC and BCC, by which RabbitMQ makes copies, nor names that begin with x-.",
        "properties": {
            "traceparent": {
                "type": "string",
                "pattern": "^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$",
                "description": "W3C Trace Context, version 00.",
            },
            "tracestate": {
                "type": "string",
                "pattern": format!("^[ -~]{{1,{TRACESTATE_MAX_BYTES}}}$"),
                "description": "W3C Trace Context; only beside a traceparent.",
            },
        },
    })
}
