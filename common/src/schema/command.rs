//! JSON Schema of a command: one alternative for each type, with the fields that this type has and no others.

use crate::command::{CommandType, MESSAGE_TYPE};
use crate::schema::DIALECT;
use crate::schema::tree::{Tree, object};
use crate::schema::value;

/// The whole document.
pub(super) fn document() -> Tree {
    let types = CommandType::ALL.iter();
    object! {
        "$schema" => DIALECT,
        "title" => MESSAGE_TYPE,
        "description" => BEYOND,
        "oneOf" => types.clone().map(|it| object! { "$ref" => format!("#/$defs/{it}") }).collect::<Vec<_>>(),
        "$defs" => Tree::fields(types.map(|it| (it.to_string(), alternative(*it)))),
    }
}

/// What holds although no schema can say it.
const BEYOND: &str = "One command about one member: one JSON object in UTF-8, at most 65536 bytes, in which no field \
    stands twice. Numbers are written without fraction and exponent; lengths count bytes, not characters; a time \
    stands in the calendar.";

/// The command of one type.
pub(super) fn alternative(command_type: CommandType) -> Tree {
    let fields = fields(command_type);
    let required = fields.iter().filter(|field| field.required).map(|field| field.name);
    let alternative = object! {
        "type" => "object",
        "description" => purpose(command_type),
        "required" => Tree::texts(required),
        "properties" => Tree::fields(fields.iter().map(|field| (field.name.to_owned(), field.schema.clone()))),
        "additionalProperties" => false,
    };
    match command_type {
        CommandType::Update => alternative.with("anyOf", vec![having("email"), having("name")]),
        CommandType::Enroll | CommandType::Earn | CommandType::Spend | CommandType::Exit | CommandType::Terminate => {
            alternative
        }
    }
}

fn having(field: &str) -> Tree {
    object! { "required" => Tree::texts([field]) }
}

/// A field as a type of command has it.
struct Field {
    name: &'static str,
    required: bool,
    schema: Tree,
}

/// In the order of the contract.
fn fields(command_type: CommandType) -> Vec<Field> {
    let required = |name, schema| Field { name, required: true, schema };
    let optional = |name, schema| Field { name, required: false, schema };
    let mut fields = vec![
        required("v", value::version()),
        required("command_id", value::command_id()),
        required("member_id", value::member_id()),
        required("type", object! { "const" => command_type.as_str() }),
    ];
    match command_type {
        CommandType::Earn | CommandType::Spend => fields.push(required("points", value::points())),
        CommandType::Enroll => fields.extend([
            optional("email", value::email()),
            optional("name", value::text("How the mails address the member.")),
        ]),
        CommandType::Update => fields.extend([
            optional("email", value::or_null(value::email())),
            optional("name", value::or_null(value::text("How the mails address the member."))),
        ]),
        CommandType::Exit | CommandType::Terminate => {}
    }
    fields.extend([
        required("occurred_at", value::time()),
        optional("reason", value::text("Why, for people: order 991.")),
        optional("source_ref", value::text("What it came from, for machines: order:991.")),
    ]);
    fields
}

/// What a command of this type asks for.
pub(super) const fn purpose(command_type: CommandType) -> &'static str {
    match command_type {
        CommandType::Enroll => "Make the member one of the programme, or again one after an exit.",
        CommandType::Update => {
            "Change a member's address or name; null clears it, and what is left out stays. Mails that are not sent yet \
             go to the new address."
        }
        CommandType::Earn => "Add points.",
        CommandType::Spend => "Take points away, if there are enough.",
        CommandType::Exit => "End the membership; what is left of the balance is forfeited.",
        CommandType::Terminate => "End the membership for good: an operator's command.",
    }
}
