//! The fields of a command: what may stand in one, and whether it must be there.
//!
//! A type of values ([`FieldValue`]) says once how it is read from JSON and from a command line; with the feature
//! `schema` it also says what it is to JSON Schema. `T`, `Option<T>` and `Change<T>` make a field of it that must be
//! there, may be left out, or may be left out and be `null`.

use serde::Serialize;
use serde_json::Value;

use crate::command::fields::Fields;
use crate::command::{Change, DecodeError};
use crate::email_address::EmailAddress;
use crate::ids::{CommandId, MemberId};
use crate::rfc3339::Moment;
use crate::values::{Invalid, Points, RewardNumber, SignedPoints, Text};

/// What stands in a field.
pub(crate) trait FieldValue: Sized + Serialize + Described {
    /// The value, as somebody types it.
    fn from_text(text: &str) -> Result<Self, Invalid>;

    /// The value, as it stands in JSON: most are strings there.
    fn from_json(value: Value) -> Result<Self, Invalid> {
        match value {
            Value::String(text) => Self::from_text(&text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Err(Invalid::new("must be a string"))
            }
        }
    }
}

/// What a value is to JSON Schema; nothing, where nobody asks.
#[cfg(feature = "schema")]
pub(crate) use schemars::JsonSchema as Described;

#[cfg(not(feature = "schema"))]
pub(crate) trait Described {}

#[cfg(not(feature = "schema"))]
impl<T> Described for T {}

/// Whether a field must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It must.
    Required,
    /// It may be left out.
    Optional,
    /// It may be left out, and `null` clears what it names.
    Clearable,
}

/// A field of a payload.
pub(crate) trait Field: Sized {
    type Value: FieldValue;

    const PRESENCE: Presence;

    /// Takes the field of that name out of those of a command.
    fn take(fields: &mut Fields, name: &'static str) -> Result<Self, DecodeError>;

    /// Whether the field is left out on the wire.
    fn is_absent(&self) -> bool;
}

impl<T: FieldValue> Field for T {
    type Value = T;

    const PRESENCE: Presence = Presence::Required;

    fn take(fields: &mut Fields, name: &'static str) -> Result<Self, DecodeError> {
        let value = fields.take(name).ok_or_else(|| DecodeError::missing(name))?;
        T::from_json(value).map_err(|error| DecodeError::field_error(name, error.to_string()))
    }

    fn is_absent(&self) -> bool {
        false
    }
}

impl<T: FieldValue> Field for Option<T> {
    type Value = T;

    const PRESENCE: Presence = Presence::Optional;

    fn take(fields: &mut Fields, name: &'static str) -> Result<Self, DecodeError> {
        let value = fields.take(name).map(T::from_json).transpose();
        value.map_err(|error| DecodeError::field_error(name, error.to_string()))
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: FieldValue> Field for Change<T> {
    type Value = T;

    const PRESENCE: Presence = Presence::Clearable;

    fn take(fields: &mut Fields, name: &'static str) -> Result<Self, DecodeError> {
        match fields.take(name) {
            None => Ok(Self::Keep),
            Some(Value::Null) => Ok(Self::Clear),
            Some(value) => T::from_json(value)
                .map(Self::Set)
                .map_err(|error| DecodeError::field_error(name, format!("{error}, or null to clear it"))),
        }
    }

    fn is_absent(&self) -> bool {
        self.is_keep()
    }
}

/// A field as documents and command lines show it.
#[derive(Clone, Copy, Debug)]
pub struct FieldInfo {
    /// On the wire.
    pub name: &'static str,
    /// What it says, as a sentence.
    pub doc: Doc,
    /// Whether it must be there.
    pub presence: Presence,
    /// The value that stands in it, of what somebody types.
    pub parse: fn(&str) -> Result<Value, Invalid>,
    /// The value as JSON Schema.
    #[cfg(feature = "schema")]
    pub(crate) schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

impl FieldInfo {
    pub(crate) const fn of<F: Field>(name: &'static str, doc: &'static str) -> Self {
        Self {
            name,
            doc: Doc(doc),
            presence: F::PRESENCE,
            parse: parse::<F::Value>,
            #[cfg(feature = "schema")]
            schema: <F::Value as schemars::JsonSchema>::json_schema,
        }
    }
}

fn parse<T: FieldValue>(text: &str) -> Result<Value, Invalid> {
    T::from_text(text).map(|value| serde_json::to_value(value).expect("strings and integers always serialize"))
}

/// A doc comment: its first paragraph is a sentence for lists, the others say more.
#[derive(Clone, Copy, Debug)]
pub struct Doc(pub(crate) &'static str);

impl Doc {
    /// The first paragraph.
    pub fn summary(self) -> String {
        self.paragraphs().next().unwrap_or_default()
    }

    /// All paragraphs, each a line.
    pub fn paragraphs(self) -> impl Iterator<Item = String> {
        let words = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        self.0.split("\n\n").map(words).filter(|paragraph| !paragraph.is_empty())
    }
}

// --- The types of values ---------------------------------------------------------------------------------------------

impl FieldValue for MemberId {
    fn from_text(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

impl FieldValue for CommandId {
    fn from_text(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

impl FieldValue for Text {
    fn from_text(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

impl FieldValue for EmailAddress {
    fn from_text(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

impl FieldValue for Moment {
    fn from_text(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }

    fn from_json(value: Value) -> Result<Self, Invalid> {
        Self::parse(value.as_str().unwrap_or_default())
    }
}

impl FieldValue for Points {
    fn from_text(text: &str) -> Result<Self, Invalid> {
        text.parse()
    }

    fn from_json(value: Value) -> Result<Self, Invalid> {
        // 1.0 and 1e3 are not integers here: who writes them may one day write 0.1.
        Self::try_new(value.as_i64().unwrap_or(0))
    }
}

impl FieldValue for SignedPoints {
    fn from_text(text: &str) -> Result<Self, Invalid> {
        text.parse()
    }

    fn from_json(value: Value) -> Result<Self, Invalid> {
        Self::try_new(value.as_i64().unwrap_or(0))
    }
}

impl FieldValue for RewardNumber {
    fn from_text(text: &str) -> Result<Self, Invalid> {
        text.parse()
    }

    fn from_json(value: Value) -> Result<Self, Invalid> {
        Self::try_new(value.as_i64().unwrap_or(0))
    }
}

impl FieldValue for bool {
    fn from_text(text: &str) -> Result<Self, Invalid> {
        text.parse().map_err(|_| Invalid::new("must be true or false"))
    }

    fn from_json(value: Value) -> Result<Self, Invalid> {
        value.as_bool().ok_or_else(|| Invalid::new("must be true or false"))
    }
}
