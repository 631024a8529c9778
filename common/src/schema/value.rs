//! The schemas of single values: what the `parse` of their newtypes says, in the words of JSON Schema.
//!
//! The patterns use only what regular expressions of every language have in common. What no schema can say (lengths
//! in bytes, the calendar) stands in the description.

use crate::address::{LABEL_MAX_BYTES, LOCAL_MAX_BYTES};
use crate::command::VERSION;
use crate::ids::MEMBER_ID_MAX_BYTES;
use crate::schema::tree::{Tree, object};
use crate::text::{EMAIL_MAX_BYTES, POINTS_MAX, TEXT_MAX_BYTES};

/// The field `v`.
pub(super) fn version() -> Tree {
    object! { "const" => number(VERSION), "description" => "The version of this contract." }
}

/// [`MemberId`](crate::MemberId)
pub(super) fn member_id() -> Tree {
    object! {
        "type" => "string",
        "pattern" => format!("^[!-~]{{1,{MEMBER_ID_MAX_BYTES}}}$"),
        "description" => "Who it is about: printable ASCII without spaces. Decides the routing key.",
    }
}

/// [`CommandId`](crate::CommandId)
pub(super) fn command_id() -> Tree {
    object! {
        "type" => "string",
        "format" => "uuid",
        "pattern" => "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        "description" => "A UUID that the sender makes, version 7 preferred. The idempotency key, scoped to the \
            member.",
    }
}

/// [`Points`](crate::Points)
pub(super) fn points() -> Tree {
    object! {
        "type" => "integer",
        "minimum" => 1,
        "maximum" => POINTS_MAX,
        "description" => "How many. Written without fraction and exponent.",
    }
}

/// [`Text`](crate::Text)
pub(super) fn text(what: &str) -> Tree {
    object! {
        "type" => "string",
        "minLength" => 1,
        "maxLength" => number(TEXT_MAX_BYTES),
        "pattern" => format!("^[^{CONTROL}]*$"),
        "description" => format!("{what} At most {TEXT_MAX_BYTES} bytes of UTF-8, no control characters."),
    }
}

/// [`EmailAddress`](crate::EmailAddress)
pub(super) fn email() -> Tree {
    let atom = format!(r#"[^{CONTROL}{SPACE}<>(),;:"\[\]\\@.]+"#);
    let edge = format!("[^{NO_HOST}{SPACE}-]");
    let label = format!("{edge}([^{NO_HOST}{SPACE}]{{0,{inner}}}{edge})?", inner = LABEL_MAX_BYTES - 2);
    object! {
        "type" => "string",
        "maxLength" => number(EMAIL_MAX_BYTES),
        "pattern" => format!(r"^{atom}(\.{atom})*@{label}(\.{label})*$"),
        // Two patterns, since not every language can look ahead.
        "allOf" => vec![object! { "pattern" => format!("^[^@]{{1,{LOCAL_MAX_BYTES}}}@") }],
        "description" => format!("Where rewards are mailed: an address that a mail server could take. At most \
            {EMAIL_MAX_BYTES} bytes, {LOCAL_MAX_BYTES} of them before the @, and {LABEL_MAX_BYTES} between two dots \
            of the domain. A domain beyond ASCII must be an internationalised domain name."),
    }
}

/// A text that may be `null` in its place.
pub(super) fn or_null(schema: Tree) -> Tree {
    let Tree::Object(fields) = schema else { return schema };
    let nullable = |(name, value)| if name == "type" { (name, Tree::texts(["string", "null"])) } else { (name, value) };
    Tree::fields(fields.into_iter().map(nullable))
}

/// A time as a publisher writes it.
pub(super) fn time() -> Tree {
    object! {
        "type" => "string",
        "pattern" => r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$",
        "description" => "When it happened in the shop, RFC 3339, of the years 1900 to 9998 in UTC. Kept to the microsecond; \
            more than 5 minutes ahead of the database's clock is set aside.",
    }
}

/// A name of a closed set.
pub(super) fn one_of<T: ToString>(description: &str, names: &[T]) -> Tree {
    object! { "enum" => Tree::texts(names.iter().map(ToString::to_string)), "description" => description }
}

/// A whole number of at least `minimum`.
pub(super) fn whole(minimum: i64, description: &str) -> Tree {
    object! { "type" => "integer", "minimum" => minimum, "description" => description }
}

/// A time as we write it.
pub(super) fn moment(description: &str) -> Tree {
    object! { "type" => "string", "format" => "date-time", "description" => description }
}

/// Control characters (Unicode's `Cc`), inside of brackets.
const CONTROL: &str = r"\u0000-\u001f\u007f-\u009f";

/// ASCII (and control) characters that no host's name has but for the dot between its labels, inside of brackets.
const NO_HOST: &str = r"\u0000-\u002c\u002e\u002f\u003a-\u0040\u005b-\u005e\u0060\u007b-\u009f";

/// White space (Unicode's `White_Space`) that is no control character, inside of brackets.
const SPACE: &str = r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";

/// A bound of the contract as a document holds it.
pub(super) fn number(bound: impl TryInto<i64>) -> i64 {
    bound.try_into().ok().expect("the contract's bounds are far below 2^63")
}
