//! JSON Schema of a receipt, the answer to a command.
//!
//! A reader must let pass the fields that it does not know: later releases may add some.

use serde_json::{Value, json};

use super::{DIALECT, schema_of};
use crate::receipt::{Outcome, Receipt};

/// The whole document.
pub(super) fn document() -> Value {
    let mut schema = schema_of::<Receipt>();
    json!({
        "$schema": DIALECT,
        "title": "loyalty.receipt.v1",
        "description": "What became of a command: one row of the ledger, kept for as long as the ledger is. The types \
            and codes are those of this release; later ones may add some, and fields too.",
        "type": "object",
        "required": schema["required"].take(),
        "properties": schema["properties"].take(),
        "allOf": [code_only_when_refused()],
    })
}

/// A refused command names its reason, an applied one has none.
fn code_only_when_refused() -> Value {
    json!({
        "if": {"properties": {"outcome": {"const": Outcome::Refused}}},
        "then": {"required": ["code"]},
        "else": {"not": {"required": ["code"]}},
    })
}
