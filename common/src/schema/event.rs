//! JSON Schema of an event: one alternative for each kind, with the fields that this kind has.
//!
//! A listener must let pass the fields and kinds that it does not know: later releases may add some.

use crate::command::CommandType;
use crate::event::{EventType, MESSAGE_TYPE, VERSION};
use crate::receipt::RefusalCode;
use crate::schema::DIALECT;
use crate::schema::tree::{Tree, object};
use crate::schema::value::{self, number};

/// The whole document.
pub(super) fn document() -> Tree {
    let types = EventType::ALL.iter();
    object! {
        "$schema" => DIALECT,
        "title" => MESSAGE_TYPE,
        "description" => "Something that happened to a member: one event for each row of the ledger, and one for each \
            reward. The kinds, types and codes are those of this release; later ones may add some, and fields too.",
        "oneOf" => types.clone().map(|it| object! { "$ref" => format!("#/$defs/{it}") }).collect::<Vec<_>>(),
        "$defs" => Tree::fields(types.map(|it| (it.to_string(), alternative(*it)))),
    }
}

/// The event of one kind.
pub(super) fn alternative(event_type: EventType) -> Tree {
    let fields = fields(event_type);
    // The points of a refused command are the one field that may be missing.
    let is_required = |name: &&str| !(event_type == EventType::CommandRefused && *name == "points");
    let required: Vec<&str> = fields.iter().map(|(name, _)| *name).filter(is_required).collect();
    object! {
        "type" => "object",
        "description" => meaning(event_type),
        "required" => Tree::texts(required),
        "properties" => Tree::fields(fields.into_iter().map(|(name, schema)| (name.to_owned(), schema))),
    }
}

/// In the order of the wire.
fn fields(event_type: EventType) -> Vec<(&'static str, Tree)> {
    let uuid = |what: &str| object! { "type" => "string", "format" => "uuid", "description" => what };
    let mut fields = vec![
        ("v", object! { "const" => number(VERSION), "description" => "The version of this contract." }),
        ("event_id", uuid("The same for the same event, which may come more than once. Also the message_id.")),
        ("type", object! { "const" => event_type.as_str(), "description" => "Also the routing key." }),
        ("member_id", value::member_id()),
        ("seq", value::whole(1, "The member's version: 1, 2, 3, ... without a gap. What is below the last is stale.")),
        ("epoch", value::whole(0, "Which membership: 1, and one more for each enrolment; 0 before the first.")),
        ("command_id", uuid("By which command.")),
        ("command_type", command_type(event_type)),
    ];
    let points = || ("points", value::points());
    match event_type {
        EventType::CommandRefused => {
            fields.extend([("code", value::one_of("Why.", &RefusalCode::GIVEN)), points()]);
        }
        EventType::PointsEarned | EventType::PointsSpent => fields.push(points()),
        EventType::RewardGranted => fields.push(("reward", reward())),
        EventType::MemberEnrolled
        | EventType::MemberUpdated
        | EventType::MemberExited
        | EventType::MemberTerminated => {}
    }
    fields.extend([
        ("delta", object! { "type" => "integer", "description" => "What it changed the balance by." }),
        ("balance", value::whole(0, "The balance after it.")),
        ("lifetime", value::whole(0, "The points earned in this membership after it.")),
        ("occurred_at", value::moment("When it happened in the shop.")),
        ("recorded_at", value::moment("When it was decided, by the database's clock.")),
    ]);
    fields
}

fn command_type(event_type: EventType) -> Tree {
    let only = |command_type: CommandType| object! { "const" => command_type.as_str() };
    match event_type {
        EventType::MemberEnrolled => only(CommandType::Enroll),
        EventType::MemberUpdated => only(CommandType::Update),
        EventType::PointsEarned | EventType::RewardGranted => only(CommandType::Earn),
        EventType::PointsSpent => only(CommandType::Spend),
        EventType::CommandRefused => value::one_of("What the command asked for.", CommandType::ALL),
        EventType::MemberExited => only(CommandType::Exit),
        EventType::MemberTerminated => only(CommandType::Terminate),
    }
}

fn reward() -> Tree {
    object! {
        "type" => "object",
        "required" => Tree::texts(["number", "points", "title"]),
        "properties" => object! {
            "number" => value::whole(1, "The how-manyth of the membership: 1, 2, 3, ..."),
            "points" => value::whole(1, "The lifetime sum that was crossed."),
            "title" => object! { "type" => "string", "description" => "What the member gets." },
        },
    }
}

/// What an event of this kind says.
pub(super) const fn meaning(event_type: EventType) -> &'static str {
    match event_type {
        EventType::MemberEnrolled => "Somebody became a member, or again one after an exit.",
        EventType::MemberUpdated => "A member's address or name was changed.",
        EventType::PointsEarned => "Points were added.",
        EventType::PointsSpent => "Points were taken.",
        EventType::CommandRefused => "A command was refused, for good; nothing changed.",
        EventType::RewardGranted => "Points that were added earned a reward. Has the seq of their event.",
        EventType::MemberExited => "A member left; what was left of the balance is forfeited.",
        EventType::MemberTerminated => "An operator ended the membership for good; what was left is forfeited.",
    }
}
