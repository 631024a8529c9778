//! The fields of one JSON object, to be taken one by one until none is left.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::{CommandType, DecodeError, VERSION};

/// How the error of a repeated field begins, up to its name.
pub(crate) const REPEATED: &str = "a field stands twice: `";

/// The fields of one JSON object that have not been taken yet. A handful: a list beats a map.
pub(crate) struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Of an object that was read elsewhere.
    pub(crate) fn of(fields: Vec<(String, Value)>) -> Self {
        Self(fields)
    }

    /// Takes the field of that name.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(field, _)| field == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Checked first: what follows is only meaningful for a version and a type that we know.
    pub(crate) fn version_and_type(&mut self) -> Result<CommandType, DecodeError> {
        if self.take("v").and_then(|v| v.as_u64()) != Some(VERSION) {
            return Err(DecodeError::UnknownVersion);
        }
        let name = self.take("type");
        name.as_ref().and_then(Value::as_str).and_then(CommandType::parse).ok_or(DecodeError::UnknownType)
    }

    pub(crate) fn nothing_left(&self, command_type: CommandType) -> Result<(), DecodeError> {
        match self.0.first() {
            None => Ok(()),
            Some((field, _)) => {
                Err(DecodeError::field_error(&printable(field), format!("is not a field of `{command_type}`")))
            }
        }
    }
}

/// The name of an unknown field as an error may show it: short, and only if it looks like a name.
fn printable(field: &str) -> String {
    const NAME_MAX_BYTES: usize = 40;
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if field.len() <= NAME_MAX_BYTES && field.bytes().all(name) { field.to_owned() } else { "?".to_owned() }
}

impl<'de> serde::Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

/// Collects the fields of an object and refuses one that stands twice, which `serde_json::Map` would let win silently.
struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        /// More than the contract has; a body of thousands of fields must not cost quadratic time.
        const FIELDS_MAX: usize = 32;
        let mut fields: Vec<(String, Value)> = Vec::with_capacity(8);
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if fields.len() == FIELDS_MAX {
                return Err(A::Error::custom("too many fields"));
            }
            if fields.iter().any(|(field, _)| *field == name) {
                return Err(A::Error::custom(format_args!("{REPEATED}{}`", printable(&name))));
            }
            fields.push((name, value));
        }
        Ok(Fields(fields))
    }
}
