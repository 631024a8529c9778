//! JSON Schema of a command: one alternative for each type of the registry, with the fields that this type has and no
//! others.

use serde_json::{Map, Value, json};

use super::{generator, one_of, schema_of};
use crate::command::{CommandType, FieldInfo, MESSAGE_TYPE, Presence, VERSION};
use crate::rfc3339::Moment;
use crate::{CommandId, MemberId, Text};

/// The whole document.
pub(super) fn document() -> Value {
    let types = CommandType::ALL.iter();
    one_of(MESSAGE_TYPE, BEYOND, &types.map(|it| (it.to_string(), alternative(*it))).collect())
}

/// What holds although no schema can say it.
const BEYOND: &str = "One command about one member: one JSON object in UTF-8, at most 65536 bytes, in which no field \
    stands twice. Numbers are written without fraction and exponent; lengths count bytes, not characters; a time \
    stands in the calendar.";

/// The fields of every command, those that stand before its own.
const WHO: [FieldInfo; 2] = [
    FieldInfo {
        schema: sent_command_id,
        ..FieldInfo::of::<CommandId>("command_id", "The idempotency key, scoped to the member.")
    },
    FieldInfo::of::<MemberId>("member_id", "Who it is about. Decides the routing key."),
];

/// And those that stand behind them.
const WHEN_AND_WHY: [FieldInfo; 3] = [
    FieldInfo::of::<Moment>(
        "occurred_at",
        "When it happened in the shop. More than 5 minutes ahead of the database's clock is set aside.",
    ),
    FieldInfo::of::<Option<Text>>("reason", "Why, for people: order 991."),
    FieldInfo::of::<Option<Text>>("source_ref", "What it came from, for machines: order:991."),
];

/// The command of one type.
pub(super) fn alternative(command_type: CommandType) -> Value {
    let about = command_type.about();
    let entry = |field: &FieldInfo| (field.name.to_owned(), field_schema(field));
    let mut properties = Map::new();
    properties.insert("v".to_owned(), json!({"const": VERSION, "description": "The version of this contract."}));
    properties.extend(WHO.iter().map(entry));
    properties.insert("type".to_owned(), json!({"const": command_type}));
    properties.extend(about.fields.iter().map(entry));
    properties.extend(WHEN_AND_WHY.iter().map(entry));
    let fields = || WHO.iter().chain(about.fields).chain(&WHEN_AND_WHY);
    let is_asked_for = |name: &str| about.requires.iter().any(|it| it.as_str() == name);
    let may_be_left_out =
        |name: &str| fields().any(|it| it.name == name && it.presence != Presence::Required) && !is_asked_for(name);
    let required: Vec<&String> = properties.keys().filter(|name| !may_be_left_out(name)).collect();
    let mut schema = json!({
        "type": "object",
        "description": about.doc.paragraphs().collect::<Vec<_>>().join(" "),
        "required": required,
        "properties": properties,
        "additionalProperties": false,
    });
    if about.needs_a_field {
        schema["anyOf"] = about.fields.iter().map(|field| json!({"required": [field.name]})).collect();
    }
    schema
}

/// The id of a command, of which the ids of what happens by itself are none.
fn sent_command_id(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut schema = schema_of::<CommandId>();
    schema["not"] = json!({"pattern": "^.{14}8"});
    schema["description"] = "A UUID that the sender makes, version 7 preferred, of any version but 8.".into();
    schema.try_into().expect("an object is a schema")
}

/// What stands in a field: what the field says, and what its type allows.
fn field_schema(field: &FieldInfo) -> Value {
    let mut schema = Value::from((field.schema)(&mut generator()));
    let allowed = schema["description"].as_str().unwrap_or_default();
    let mut description: Vec<String> = field.doc.paragraphs().chain([allowed.to_owned()]).collect();
    if field.presence == Presence::Clearable {
        schema["type"] = json!([schema["type"], "null"]);
        description.push("null clears it.".to_owned());
    }
    schema["description"] = description.join(" ").into();
    schema
}
