//! The one list of the types of commands. Everything that must know all of them is made from it: [`Action`],
//! [`CommandType`], decoding and its errors, the events, the documents, the scopes, and `loyalty publish`.
//!
//! A new type is a file beside this one with its payload, and a line here. No other file may list them:
//! `tests/one_list.rs` looks.

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::command::payload::{self, About, ContactFields, Rules};
use crate::decode::{DecodeError, Fields};
use crate::event::EventType;
use crate::scope::Scope;
use crate::text::Points;
#[allow(clippy::wildcard_imports, reason = "the one list is below")]
use payloads::*;

macro_rules! commands {
    ($($module:ident::$name:ident = $wire:literal),+ $(,)?) => {
        /// The payloads of all types.
        pub mod payloads {
            $(pub use super::super::$module::$name;)+
        }

        /// What a command asks for.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $(#[doc = concat!("`", $wire, "`")] $name($name)),+
        }

        string_enum! {
            /// The field `type` of a command.
            pub enum CommandType {
                $(#[doc = concat!("[`Action::", stringify!($name), "`]")] $name = $wire),+
            }
        }

        impl CommandType {
            /// What is known of the type.
            pub const fn about(self) -> &'static About {
                match self { $(Self::$name => const { &About::of::<$name>() }),+ }
            }
        }

        impl Action {
            /// The name of the action on the wire.
            pub const fn command_type(&self) -> CommandType {
                match self { $(Self::$name(_) => CommandType::$name),+ }
            }

            /// The points that the command names, if its type names any.
            pub fn points(&self) -> Option<Points> {
                match self { $(Self::$name(it) => it.points()),+ }
            }

            /// What the command says of a member's address and name, if its type says anything of them.
            pub fn contact(&self) -> Option<ContactFields<'_>> {
                match self { $(Self::$name(it) => it.contact()),+ }
            }

            /// Takes the fields of a type out of those of a command.
            pub(crate) fn take(command_type: CommandType, fields: &mut Fields) -> Result<Self, DecodeError> {
                match command_type { $(CommandType::$name => payload::take(fields).map(Self::$name)),+ }
            }
        }

        $(impl From<$name> for Action {
            fn from(payload: $name) -> Self {
                Self::$name(payload)
            }
        })+

        /// The fields of its payload.
        impl Serialize for Action {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$name(it) => it.serialize(serializer)),+ }
            }
        }
    };
}

commands! {
    enroll::Enroll = "enroll",
    update::Update = "update",
    earn::Earn = "earn",
    spend::Spend = "spend",
    exit::Exit = "exit",
    terminate::Terminate = "terminate",
}

impl CommandType {
    /// The scope that a token needs for it.
    pub const fn scope(self) -> Scope {
        self.about().scope
    }

    /// Whether it waits for the enrolment of somebody who is not a member yet. The others are refused.
    pub const fn parks(self) -> bool {
        self.about().parks
    }

    /// The event that tells of it when it is applied.
    pub const fn event_type(self) -> EventType {
        EventType::Applied(self)
    }
}

impl Action {
    /// The action of these fields, each a name and its value.
    pub fn of_fields(command_type: CommandType, fields: Vec<(String, Value)>) -> Result<Self, DecodeError> {
        let mut fields = Fields::of(fields);
        let action = Self::take(command_type, &mut fields)?;
        fields.nothing_left(command_type)?;
        Ok(action)
    }
}
