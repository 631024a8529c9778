//! The values that go in and out, as JSON Schema. Commands and receipts are those of the contract, taken from where it
//! is published; the rest is ours and is held to what is answered by the tests.

use loyalty_common::schema::{Document, schema_of};
use loyalty_common::{CommandId, CommandType, MemberId, Outcome, Points, RefusalCode};
use loyalty_ledger::MemberStatus;
use serde_json::{Map, Value, json};

use super::endpoint::reference;
use crate::problem::Code;
use crate::submit::Pending;

/// All of them, by name.
pub(super) fn all() -> Map<String, Value> {
    let commands = CommandType::ALL.iter().map(|it| (name_of(*it), command(*it)));
    let others = [
        ("Command", json!({"oneOf": CommandType::ALL.iter().map(|it| reference(&name_of(*it))).collect::<Vec<_>>()})),
        ("Receipt", receipt()),
        ("Open", open()),
        ("Line", line()),
        ("Member", member()),
        ("CurrentMember", current_member()),
        ("Members", page("Member")),
        ("Ledger", page("Receipt")),
        ("Reward", reward()),
        ("Rewards", page("Reward")),
        ("Problem", problem()),
    ];
    commands.chain(others.map(|(name, schema)| (name.to_owned(), schema))).collect()
}

/// `Command.earn`
fn name_of(command_type: CommandType) -> String {
    format!("Command.{command_type}")
}

/// A command of the contract, with the two fields optional that may be left to the bridge.
fn command(command_type: CommandType) -> Value {
    let mut schema = Document::Command.value()["$defs"][command_type.as_str()].take();
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|field| field != "command_id" && field != "occurred_at");
    }
    schema
}

fn receipt() -> Value {
    let mut schema = Document::Receipt.value();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
    }
    schema
}

/// A member's id, wherever it stands.
pub(crate) fn member_id() -> Value {
    schema_of::<MemberId>()
}

/// A command's id.
pub(crate) fn command_id() -> Value {
    schema_of::<CommandId>()
}

/// The points of a command.
pub(crate) fn points() -> Value {
    schema_of::<Points>()
}

/// The optional body of the short interface: these fields of an enrolment.
pub(crate) fn body(fields: &[&str]) -> Value {
    let mut all = Document::Command.value()["$defs"][CommandType::Enroll.as_str()]["properties"].take();
    let fields: Map<String, Value> = fields.iter().map(|name| ((*name).to_owned(), all[*name].take())).collect();
    json!({"type": "object", "properties": fields, "additionalProperties": false})
}

/// Whole numbers within bounds.
pub(crate) fn integer(least: i64, most: i64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most})
}

/// One of the names of a closed set.
pub(crate) fn one_of<T: ToString>(names: impl IntoIterator<Item = T>) -> Value {
    json!({"type": "string", "enum": names.into_iter().map(|name| name.to_string()).collect::<Vec<_>>()})
}

/// Where members may stand who are to be listed.
pub(crate) fn member_status() -> Value {
    one_of(MemberStatus::ALL.iter().filter(|status| **status != MemberStatus::Unenrolled))
}

fn open() -> Value {
    json!({
        "type": "object",
        "required": ["member_id", "command_id", "state", "message", "location"],
        "properties": {
            "member_id": member_id(),
            "command_id": command_id(),
            "state": one_of(Pending::ALL.iter().filter(|state| **state != Pending::Unconfirmed)),
            "message": text("For people."),
            "location": text("Where the receipt will be."),
        },
    })
}

fn line() -> Value {
    json!({
        "description": "What is said of a line: the fields of the answer that the command would have had alone.",
        "type": "object",
        "required": ["line", "status"],
        "properties": {
            "line": whole(1, "Counted from 1; of an array, its place."),
            "status": whole(200, "The status that the command would have had alone."),
            "replayed": {"type": "boolean", "description": "It was known from before."},
            "state": one_of(Pending::ALL.iter().map(|it| it.as_str()).chain(Outcome::ALL.iter().map(|it| it.as_str()))),
            "member_id": member_id(),
            "command_id": command_id(),
            "location": text("Where the receipt will be."),
            "receipt": reference("Receipt"),
            "code": code(),
            "field": text("What is wrong."),
        },
    })
}

fn member() -> Value {
    json!({
        "type": "object",
        "required": ["member_id", "status", "points", "held", "debt", "lifetime_points", "epoch", "version",
                     "has_email", "updated_at"],
        "properties": {
            "member_id": member_id(),
            "status": member_status(),
            "points": whole(0, "Points to spend."),
            "held": whole(0, "Points that open holds set aside."),
            "debt": whole(0, "Points taken back that were spent already; whatever comes in pays it first."),
            "lifetime_points": whole(0, "Points earned in this membership; spending does not lower it."),
            "as_of": time("The member's time: what was due by then has happened."),
            "epoch": whole(1, "Which membership this is."),
            "version": whole(1, "Counts what happened to the member: of two answers the larger one is newer."),
            "milestone": whole(1, "Lifetime points for each reward."),
            "has_email": {"type": "boolean", "description": "Whether the member gets emails: an address is known."},
            "enrolled_at": time("When this membership began."),
            "updated_at": time("When anything changed last."),
        },
    })
}

fn current_member() -> Value {
    let list = |description: &str, properties: Value| {
        let fields: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
        let items = json!({"type": "object", "required": fields, "properties": properties});
        json!({"type": "array", "description": description, "items": items})
    };
    let day = json!({"type": "string", "format": "date", "description": "The last day on which they can be spent."});
    let lots = json!({"expires_on": day, "points": whole(1, "So many.")});
    let holds = json!({
        "command_id": command_id(),
        "points": whole(1, "So many."),
        "expires_at": time("When they come back by themselves."),
    });
    let fields = json!({
        "type": "object",
        "required": ["lots", "holds"],
        "properties": {
            "lots": list("Points that expire, the soonest first. The others never do.", lots),
            "holds": list("Open holds, in the order in which they run out.", holds),
        },
    });
    json!({"allOf": [reference("Member"), fields]})
}

fn reward() -> Value {
    json!({
        "type": "object",
        "required": ["number", "title", "points", "granted_at"],
        "properties": {
            "number": whole(1, "Which of the membership's rewards: what `redeem` names."),
            "title": text("What the member gets."),
            "points": whole(1, "The lifetime points that earned it."),
            "granted_at": time("When it was granted."),
            "redeemed_at": time("When it was used; it is missing while the reward is open."),
        },
    })
}

fn page(of: &str) -> Value {
    json!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": {"type": "array", "items": reference(of)},
            "next": text("The path of the next page; it is missing at the end."),
        },
    })
}

fn problem() -> Value {
    json!({
        "description": "RFC 9457.",
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": text("Always about:blank: the code tells problems apart."),
            "title": text("The status in words."),
            "status": whole(400, "The status."),
            "code": code(),
            "detail": text("For people."),
            "field": text("What of the request is wrong."),
            "allowed": text("What it may be."),
            "command_id": command_id(),
            "receipt": reference("Receipt"),
        },
    })
}

/// The codes of problems and of refusals.
fn code() -> Value {
    one_of(Code::ALL.iter().map(|code| code.as_str()).chain(RefusalCode::ALL.iter().map(|code| code.as_str())))
}

fn time(description: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": description})
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn whole(minimum: i64, description: &str) -> Value {
    json!({"type": "integer", "minimum": minimum, "description": description})
}
