//! The types of values in JSON Schema: what their `parse` says. The one place for it.
//!
//! The patterns use only what regular expressions of every language have in common. What no schema can say (lengths
//! in bytes, the calendar) stands in the description.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::EntryType;
use crate::command::CommandType;
use crate::email_address::syntax::{LABEL_MAX_BYTES, LOCAL_MAX_BYTES};
use crate::email_address::{EMAIL_MAX_BYTES, EmailAddress};
use crate::ids::{CommandId, MEMBER_ID_MAX_BYTES, MemberId};
use crate::receipt::{Outcome, RefusalCode};
use crate::rfc3339::Moment;
use crate::values::{POINTS_MAX, Points, REWARD_NUMBER_MAX, RewardNumber, SignedPoints, TEXT_MAX_BYTES, Text};

/// Says what a type is to JSON Schema.
macro_rules! described {
    ($($type:ty => $schema:expr;)+) => {$(
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )+};
}

described! {
    MemberId => json_schema!({
        "type": "string",
        "pattern": format!("^[!-~]{{1,{MEMBER_ID_MAX_BYTES}}}$"),
        "description": "Printable ASCII without spaces.",
    });
    CommandId => json_schema!({
        "type": "string",
        "format": "uuid",
        "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        "description": "A UUID.",
    });
    Points => json_schema!({
        "type": "integer",
        "minimum": 1,
        "maximum": POINTS_MAX,
        "description": "Written without fraction and exponent.",
    });
    SignedPoints => json_schema!({
        "type": "integer",
        "minimum": -POINTS_MAX,
        "maximum": POINTS_MAX,
        "not": {"const": 0},
        "description": "Written without fraction and exponent.",
    });
    RewardNumber => json_schema!({
        "type": "integer",
        "minimum": 1,
        "maximum": REWARD_NUMBER_MAX,
        "description": "Written without fraction and exponent.",
    });
    Text => json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": TEXT_MAX_BYTES,
        "pattern": format!("^[^{CONTROL}]*$"),
        "description": format!("At most {TEXT_MAX_BYTES} bytes of UTF-8, no control characters."),
    });
    EmailAddress => email();
    Moment => json_schema!({
        "type": "string",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$",
        "description": "RFC 3339, of the years 1900 to 9998 in UTC. Kept to the microsecond.",
    });
    CommandType => json_schema!({ "enum": CommandType::ALL });
    EntryType => json_schema!({ "enum": EntryType::all().map(EntryType::as_str).collect::<Vec<_>>() });
    Outcome => json_schema!({ "enum": Outcome::ALL });
    RefusalCode => json_schema!({ "enum": RefusalCode::ALL });
}

fn email() -> Schema {
    let atom = format!(r#"[^{CONTROL}{SPACE}<>(),;:"\[\]\\@.]+"#);
    let edge = format!("[^{NO_HOST}{SPACE}-]");
    let label = format!("{edge}([^{NO_HOST}{SPACE}]{{0,{inner}}}{edge})?", inner = LABEL_MAX_BYTES - 2);
    json_schema!({
        "type": "string",
        "maxLength": EMAIL_MAX_BYTES,
        "pattern": format!(r"^{atom}(\.{atom})*@{label}(\.{label})*$"),
        // Two patterns, since not every language can look ahead.
        "allOf": [{"pattern": format!("^[^@]{{1,{LOCAL_MAX_BYTES}}}@")}],
        "description": format!("An address that a mail server could take. At most {EMAIL_MAX_BYTES} bytes, \
            {LOCAL_MAX_BYTES} of them before the @, and {LABEL_MAX_BYTES} between two dots of the domain. A domain \
            beyond ASCII must be an internationalised domain name."),
    })
}

/// Control characters (Unicode's `Cc`), inside of brackets.
const CONTROL: &str = r"\u0000-\u001f\u007f-\u009f";

/// ASCII (and control) characters that no host's name has but for the dot between its labels, inside of brackets.
const NO_HOST: &str = r"\u0000-\u002c\u002e\u002f\u003a-\u0040\u005b-\u005e\u0060\u007b-\u009f";

/// White space (Unicode's `White_Space`) that is no control character, inside of brackets.
const SPACE: &str = r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";
