//! The one list of the types of commands. Everything that must know all of them is made from it: [`Action`],
//! [`CommandType`], decoding and its errors, the events, the documents, the scopes, and `loyalty publish`.
//!
//! A new type is a file beside this one with its payload, and a line here. No other file may list them:
//! `tests/one_list.rs` looks.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::command::DecodeError;
use crate::command::fields::Fields;
use crate::command::payload::{self, About, ContactFields, Rules};
use crate::ids::CommandId;
use crate::scope::Scope;
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

            /// The points that the command names, if it names any; negative where an adjustment takes them.
            pub fn points(&self) -> Option<i64> {
                match self { $(Self::$name(it) => it.points()),+ }
            }

            /// The earlier command of the member that it is about, if its type names one.
            pub fn target(&self) -> Option<CommandId> {
                match self { $(Self::$name(it) => it.target()),+ }
            }

            /// When what it does is over, if its type says so.
            pub fn expires_at(&self) -> Option<Timestamp> {
                match self { $(Self::$name(it) => it.expires_at()),+ }
            }

            /// Whether points that it adds count as earned, if that is for the command to say.
            pub fn counts(&self) -> Option<bool> {
                match self { $(Self::$name(it) => it.counts()),+ }
            }

            /// The number of the reward that it is about, if its type names one.
            pub fn number(&self) -> Option<i64> {
                match self { $(Self::$name(it) => it.number()),+ }
            }

            /// What the command says of a member's address and name, if its type says anything of them.
            pub fn contact(&self) -> Option<ContactFields<'_>> {
                match self { $(Self::$name(it) => it.contact()),+ }
            }

            /// Whether its fields make sense for what happened at that time.
            pub(crate) fn check_at(&self, occurred_at: Timestamp) -> Result<(), DecodeError> {
                match self { $(Self::$name(it) => it.check_at(occurred_at)),+ }
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
    adjust::Adjust = "adjust",
    reverse::Reverse = "reverse",
    hold::Hold = "hold",
    capture::Capture = "capture",
    release::Release = "release",
    redeem::Redeem = "redeem",
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
