//! What the types of commands have in common. [`payload!`] makes a payload of the declaration of its fields; [`Rules`]
//! says the rest about its type.

use jiff::Timestamp;

use crate::command::field::{Doc, FieldInfo};
use crate::command::fields::Fields;
use crate::command::{Change, DecodeError, EnvelopeField};
use crate::email_address::EmailAddress;
use crate::ids::CommandId;
use crate::scope::Scope;
use crate::values::Text;

/// The fields of a type of command. Made by [`payload!`].
pub(crate) trait Payload: Sized {
    /// What the command asks for.
    const DOC: Doc;

    /// In the order of the wire.
    const FIELDS: &'static [FieldInfo];

    /// Takes its fields out of those of a command.
    fn take(fields: &mut Fields) -> Result<Self, DecodeError>;

    /// Whether all its fields are left out.
    fn is_bare(&self) -> bool;
}

/// What a type of command is beyond its fields.
pub(crate) trait Rules: Payload {
    /// The event that tells of it when it is applied: its name and what it says.
    const EVENT: (&'static str, &'static str);

    /// The scope that a token needs for it.
    const SCOPE: Scope = Scope::Publish;

    /// Whether it waits for the enrolment of somebody who is not a member yet. The others are refused.
    const PARKS: bool = false;

    /// Whether it makes no sense without any of its optional fields.
    const NEEDS_A_FIELD: bool = false;

    /// The fields that each command may leave out and that this type asks for.
    const REQUIRES: &'static [EnvelopeField] = &[];

    /// The points that it names, if it names any; negative where they are taken by hand.
    fn points(&self) -> Option<i64> {
        None
    }

    /// The earlier command of the member that it is about, if its type names one.
    fn target(&self) -> Option<CommandId> {
        None
    }

    /// When what it does is over, if its type says so.
    fn expires_at(&self) -> Option<Timestamp> {
        None
    }

    /// Whether points that it adds count as earned, if that is for the command to say.
    fn counts(&self) -> Option<bool> {
        None
    }

    /// The number of the reward that it is about, if its type names one.
    fn number(&self) -> Option<i64> {
        None
    }

    /// What it says of a member's address and name, if its type says anything of them.
    fn contact(&self) -> Option<ContactFields<'_>> {
        None
    }

    /// Whether its fields make sense together.
    fn check(&self) -> Result<(), DecodeError> {
        match Self::FIELDS {
            [first, others @ ..] if Self::NEEDS_A_FIELD && self.is_bare() => {
                let others: Vec<String> = others.iter().map(|field| format!("or `{}` ", field.name)).collect();
                let problem = format!("{}must be given: a value, or null to clear it", others.concat());
                Err(DecodeError::field_error(first.name, problem))
            }
            _ => Ok(()),
        }
    }

    /// Whether they make sense for what happened at that time.
    fn check_at(&self, _occurred_at: Timestamp) -> Result<(), DecodeError> {
        Ok(())
    }
}

/// What a command says of a member's address and name. An enrolment clears neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactFields<'a> {
    /// Where the member's emails go.
    pub email: Change<&'a EmailAddress>,
    /// How emails address the member.
    pub name: Change<&'a Text>,
}

/// All that is known of a type of command.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// What it asks for.
    pub doc: Doc,
    /// Its own fields, in the order of the wire.
    pub fields: &'static [FieldInfo],
    /// Whether at least one of them must be there although each may be left out.
    pub needs_a_field: bool,
    /// The fields of the envelope that must be there although most commands may leave them out.
    pub requires: &'static [EnvelopeField],
    /// The scope that a token needs for it.
    pub scope: Scope,
    /// Whether it waits for an enrolment.
    pub parks: bool,
    /// The name of the event that tells of it when it is applied.
    pub event: &'static str,
    /// What that event says.
    pub event_doc: &'static str,
}

impl About {
    pub(crate) const fn of<T: Rules>() -> Self {
        Self {
            doc: T::DOC,
            fields: T::FIELDS,
            needs_a_field: T::NEEDS_A_FIELD,
            requires: T::REQUIRES,
            scope: T::SCOPE,
            parks: T::PARKS,
            event: T::EVENT.0,
            event_doc: T::EVENT.1,
        }
    }
}

/// Takes a payload whose fields make sense together.
pub(crate) fn take<T: Rules>(fields: &mut Fields) -> Result<T, DecodeError> {
    let payload = T::take(fields)?;
    payload.check().map(|()| payload)
}

/// Declares a payload: its doc comment is the sentence about the command, that of each field the sentence about it, and
/// the type of a field says what may stand in it and whether it must be there ([`field`](crate::command::field)).
macro_rules! payload {
    ($(#[doc = $doc:literal])+ pub struct $name:ident;) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
        pub struct $name;

        $crate::command::payload::payload! { @impl $name [$($doc)+] {} }
    };
    ($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $field_doc:literal])+ $vis:vis $field:ident: $type:ty,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
        pub struct $name {
            $($(#[doc = $field_doc])+
            #[serde(skip_serializing_if = "crate::command::field::Field::is_absent")]
            $vis $field: $type,)+
        }

        $crate::command::payload::payload! { @impl $name [$($doc)+] { $($field: $type [$($field_doc)+],)+ } }
    };
    (@impl $name:ident [$($doc:literal)+] { $($field:ident: $type:ty [$($field_doc:literal)+],)* }) => {
        impl $crate::command::payload::Payload for $name {
            const DOC: $crate::command::field::Doc = $crate::command::field::Doc(concat!($($doc, "\n"),+));

            const FIELDS: &'static [$crate::command::field::FieldInfo] = &[$(
                $crate::command::field::FieldInfo::of::<$type>(stringify!($field), concat!($($field_doc, "\n"),+))
            ),*];

            #[allow(unused_variables, reason = "a payload without fields takes none")]
            fn take(fields: &mut $crate::command::fields::Fields) -> Result<Self, $crate::command::DecodeError> {
                Ok(Self { $($field: $crate::command::field::Field::take(fields, stringify!($field))?),* })
            }

            fn is_bare(&self) -> bool {
                true $(&& $crate::command::field::Field::is_absent(&self.$field))*
            }
        }
    };
}
pub(crate) use payload;
