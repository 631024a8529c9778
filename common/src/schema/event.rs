//! JSON Schema of an event: one alternative for each type, with the fields that this type has.
//!
//! A listener must let pass the fields and types that it does not know: later releases may add some.

use serde_json::{Value, json};

use super::{one_of, schema_of};
use crate::event::{EventType, MESSAGE_TYPE, VERSION, Wire};
use crate::receipt::RefusalCode;

/// The whole document.
pub(super) fn document() -> Value {
    const ABOUT: &str = "Something that happened to a member: one event for each row of the ledger, and one for each \
        reward. The kinds, types and codes are those of this release; later ones may add some, and fields too.";
    let types = EventType::ALL.iter();
    one_of(MESSAGE_TYPE, ABOUT, &types.map(|it| (it.to_string(), alternative(*it))).collect())
}

/// The event of one type: of the fields on the wire, those that it has.
pub(super) fn alternative(event_type: EventType) -> Value {
    let mut wire = schema_of::<Wire<'static>>();
    let properties = wire["properties"].as_object_mut().expect("a struct is an object");
    properties.retain(|name, _| has(event_type, name));
    properties["v"]["const"] = VERSION.into();
    properties["type"]["const"] = json!(event_type);
    if let Some(command_type) = event_type.command_type() {
        properties["command_type"] = json!({"const": command_type});
    }
    if let Some(code) = properties.get_mut("code") {
        code["enum"] = json!(RefusalCode::GIVEN);
    }
    // The points of a refused command are the one field that may be missing.
    let is_required = |name: &&String| !(event_type == EventType::CommandRefused && *name == "points");
    json!({
        "type": "object",
        "description": event_type.doc(),
        "required": properties.keys().filter(is_required).collect::<Vec<_>>(),
        "properties": properties,
    })
}

fn has(event_type: EventType, field: &str) -> bool {
    match (field, event_type) {
        ("reward", _) => event_type == EventType::RewardGranted,
        ("points", EventType::Applied(command_type)) => command_type.about().fields.iter().any(|it| it.name == field),
        ("points" | "code", _) => event_type == EventType::CommandRefused,
        _ => true,
    }
}
