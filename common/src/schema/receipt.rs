//! JSON Schema of a receipt, the answer to a command.
//!
//! A reader must let pass the fields that it does not know: later releases may add some.

use crate::command::CommandType;
use crate::receipt::{Outcome, RefusalCode};
use crate::schema::DIALECT;
use crate::schema::tree::{Tree, object};
use crate::schema::value;

/// The whole document.
pub(super) fn document() -> Tree {
    object! {
        "$schema" => DIALECT,
        "title" => "loyalty.receipt.v1",
        "description" => "What became of a command: one row of the ledger, kept for as long as the ledger is. The types \
            and codes are those of this release; later ones may add some, and fields too.",
        "type" => "object",
        "required" => Tree::texts(REQUIRED),
        "properties" => properties(),
        "allOf" => vec![code_only_when_refused()],
    }
}

const REQUIRED: [&str; 10] = [
    "member_id",
    "command_id",
    "type",
    "outcome",
    "delta",
    "balance_after",
    "seq",
    "epoch",
    "occurred_at",
    "recorded_at",
];

/// The fields of [`Receipt`](crate::Receipt), in its order.
fn properties() -> Tree {
    object! {
        "member_id" => value::member_id(),
        "command_id" => object! { "type" => "string", "format" => "uuid" },
        "type" => value::one_of("What the command asked for.", CommandType::ALL),
        "outcome" => value::one_of("Whether it changed anything.", Outcome::ALL),
        "code" => value::one_of("Why it was refused.", RefusalCode::ALL),
        "points" => value::whole(1, "The points that it asked for, if its type names any."),
        "delta" => object! { "type" => "integer", "description" => "What it changed the balance by. 0 when refused." },
        "balance_after" => value::whole(0, "The balance after it."),
        "seq" => value::whole(1, "Its place in the member's ledger: 1, 2, 3, ..."),
        "epoch" => value::whole(0, "Which membership: 1, and one more for each enrolment after an exit; 0 before the first."),
        "occurred_at" => value::moment("When it happened in the shop."),
        "recorded_at" => value::moment("When it was decided, by the database's clock."),
        "reason" => value::text("Why, as its sender said."),
        "source_ref" => value::text("What it came from, as its sender said."),
    }
}

/// A refused command names its reason, an applied one has none.
fn code_only_when_refused() -> Tree {
    let with_code = || object! { "required" => Tree::texts(["code"]) };
    object! {
        "if" => object! { "properties" => object! { "outcome" => object! { "const" => Outcome::Refused.as_str() } } },
        "then" => with_code(),
        "else" => object! { "not" => with_code() },
    }
}
