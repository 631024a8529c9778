//! The contract as documents for other systems: JSON Schema (2020-12) of a command, a receipt and an event, and
//! AsyncAPI 3.0 of where they travel.
//!
//! Everything is made from the registry of commands, the types of values, the structs that are on the wire, and the
//! topology that the code itself obeys. What a document says is held to what [`decode`](crate::decode::decode) does by
//! a property test; nothing here decides anything.

mod asyncapi;
mod command;
mod event;
mod headers;
mod receipt;
mod value;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// A document that `loyalty schema` prints and `docs/` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// JSON Schema of a command, the body of a message.
    Command,
    /// JSON Schema of a receipt, as the bridge and `loyalty receipt --json` show it.
    Receipt,
    /// JSON Schema of an event, the body of a message to whoever listens.
    Event,
    /// AsyncAPI of the exchanges, queues and messages.
    AsyncApi,
}

impl Document {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Command, Self::Receipt, Self::Event, Self::AsyncApi];

    /// What it says.
    pub fn value(self) -> Value {
        match self {
            Self::Command => command::document(),
            Self::Receipt => receipt::document(),
            Self::Event => event::document(),
            Self::AsyncApi => asyncapi::document(),
        }
    }

    /// How it is published: the schemas as JSON, AsyncAPI as YAML.
    pub fn text(self) -> String {
        let value = self.value();
        match self {
            Self::Command | Self::Receipt | Self::Event => format!("{value:#}\n"),
            Self::AsyncApi => {
                let yaml = yaml_serde::to_string(&value).expect("texts, numbers and switches always serialize");
                format!("{GENERATED}{yaml}")
            }
        }
    }
}

const GENERATED: &str = "# Written by `loyalty schema asyncapi`: change the code, not this file.\n";

/// The dialect of the schemas.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A value of this type, as we write it.
pub fn schema_of<T: JsonSchema>() -> Value {
    T::json_schema(&mut generator()).into()
}

/// References would hide what a field is: the types are small, and each stands in a few places.
fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true).into_generator()
}

/// A document of alternatives, each under its name.
fn one_of(title: &str, description: &str, alternatives: &Map<String, Value>) -> Value {
    let names = alternatives.keys().map(|name| json!({"$ref": format!("#/$defs/{name}")}));
    json!({
        "$schema": DIALECT,
        "title": title,
        "description": description,
        "oneOf": names.collect::<Vec<_>>(),
        "$defs": alternatives,
    })
}

#[cfg(test)]
mod tests;
