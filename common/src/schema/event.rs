//! JSON Schema of an event: one alternative for each type, with the fields that this type has.
//!
//! A listener must let pass the fields and types that it does not know: later releases may add some.

use serde_json::{Value, json};

use super::{one_of, schema_of};
use crate::EntryType;
use crate::command::Presence;
use crate::event::{EventType, MESSAGE_TYPE, VERSION, Wire};
use crate::receipt::RefusalCode;

/// The whole document.
pub(super) fn document() -> Value {
    const ABOUT: &str = "Something that happened to a member: one event for each row of the ledger, and one for each \
        reward, and warnings of points that expire soon. The kinds, types and codes are those of this release; later ones may add some, and fields too.";
    let types = EventType::ALL.iter();
    one_of(MESSAGE_TYPE, ABOUT, &types.map(|it| (it.to_string(), alternative(*it))).collect())
}

/// The event of one type: of the fields on the wire, those that it has.
pub(super) fn alternative(event_type: EventType) -> Value {
    let mut wire = schema_of::<Wire<'static>>();
    let properties = wire["properties"].as_object_mut().expect("a struct is an object");
    properties.retain(|name, _| presence(event_type, name).is_some());
    properties["v"]["const"] = VERSION.into();
    properties["type"]["const"] = json!(event_type);
    if let EventType::Applied(_) = event_type {
        let told_of = EntryType::all().filter(|it| it.event() == event_type.as_str());
        properties["command_type"] = json!({"enum": told_of.collect::<Vec<_>>()});
    }
    if let Some(code) = properties.get_mut("code") {
        code["enum"] = json!(RefusalCode::GIVEN);
    }
    let is_required = |name: &&String| presence(event_type, name) == Some(Presence::Required);
    json!({
        "type": "object",
        "description": event_type.doc(),
        "required": properties.keys().filter(is_required).collect::<Vec<_>>(),
        "properties": properties,
    })
}

/// Whether an event of a type has a field, and whether it always has.
fn presence(event_type: EventType, field: &str) -> Option<Presence> {
    let optional_if = |has: bool| has.then_some(Presence::Optional);
    let required_if = |has: bool| has.then_some(Presence::Required);
    let is_refusal = event_type == EventType::CommandRefused;
    let is_warning = event_type == EventType::PointsExpiring;
    match field {
        "reward" => required_if(event_type == EventType::RewardGranted),
        "code" => required_if(is_refusal),
        "expires_on" => required_if(is_warning),
        "command_id" | "command_type" => required_if(!is_warning),
        "points" if is_warning => Some(Presence::Required),
        "points" | "target" | "expires_at" | "number" => match event_type {
            EventType::Applied(EntryType::Command(command_type)) => {
                command_type.about().fields.iter().find(|it| it.name == field).map(|it| it.presence)
            }
            EventType::Applied(EntryType::System(_)) | EventType::RewardGranted | EventType::PointsExpiring => None,
            EventType::CommandRefused => Some(Presence::Optional),
        },
        "held_delta" | "debt_delta" => optional_if(matches!(event_type, EventType::Applied(_))),
        _ => Some(Presence::Required),
    }
}
