//! The headers of a command's message that mean something: those of W3C Trace Context.

use crate::envelope::TRACESTATE_MAX_BYTES;
use crate::schema::tree::{Tree, object};
use crate::schema::value::number;

/// JSON Schema of the header table.
pub(super) fn schema() -> Tree {
    object! {
        "type" => "object",
        "description" => "Others are carried and kept with a message that is set aside, and mean nothing. Never send \
            CC and BCC, by which RabbitMQ makes copies, nor names that begin with x-.",
        "properties" => object! {
            "traceparent" => object! {
                "type" => "string",
                "pattern" => "^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$",
                "description" => "W3C Trace Context, version 00.",
            },
            "tracestate" => object! {
                "type" => "string",
                "pattern" => format!("^[ -~]{{1,{}}}$", number(TRACESTATE_MAX_BYTES)),
                "description" => "W3C Trace Context; only beside a traceparent.",
            },
        },
    }
}
