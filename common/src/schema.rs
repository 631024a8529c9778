//! The contract as documents for other systems: JSON Schema (2020-12) of a command, a receipt and an event, and
//! AsyncAPI 3.0 of where they travel.
//!
//! Everything is made from the constants, closed sets and topology that the code itself obeys. What a document says
//! is held to what [`decode`](crate::decode::decode) does by a property test; nothing here decides anything.

mod asyncapi;
mod command;
mod event;
mod headers;
mod receipt;
mod tree;
mod value;

pub use tree::Tree;

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
    pub fn tree(self) -> Tree {
        match self {
            Self::Command => command::document(),
            Self::Receipt => receipt::document(),
            Self::Event => event::document(),
            Self::AsyncApi => asyncapi::document(),
        }
    }

    /// How it is published: the schemas as JSON, AsyncAPI as YAML.
    pub fn text(self) -> String {
        match self {
            Self::Command | Self::Receipt | Self::Event => self.tree().to_json(),
            Self::AsyncApi => format!("{GENERATED}{}", self.tree().to_yaml()),
        }
    }
}

const GENERATED: &str = "# Written by `loyalty schema asyncapi`: change the code, not this file.\n";

/// The dialect of the schemas.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

#[cfg(test)]
mod tests;
