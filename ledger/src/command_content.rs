//! What a command says, as far as it tells a repeat of it from a conflict.

use loyalty_common::{Command, CommandId, CommandType, MemberId, Points};

use crate::contact::{ContactKey, StatedValue};

/// What names a command: its id, scoped to its member.
pub type CommandKey = (MemberId, CommandId);

/// What makes two commands of one id the same command. `occurred_at` is not part of it: a sender that stamps its
/// retry afresh still means the same command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandContent {
    /// What was asked.
    pub command_type: CommandType,
    /// How many points.
    pub points: Option<i64>,
    /// Why.
    pub reason: Option<String>,
    /// What it came from.
    pub source_ref: Option<String>,
    /// What it says of the member's address.
    pub email: StatedValue,
    /// What it says of the member's name.
    pub name: StatedValue,
}

impl CommandContent {
    /// The content of a command.
    pub fn of(command: &Command) -> Self {
        let (email, name) = match command.action.contact() {
            Some(fields) => (
                StatedValue::of_change(&fields.email, |email| email.expose()),
                StatedValue::of_change(&fields.name, |name| name.as_str()),
            ),
            None => (StatedValue::Nothing, StatedValue::Nothing),
        };
        Self {
            command_type: command.command_type(),
            points: command.action.points().map(Points::get),
            reason: command.reason.as_ref().map(|text| text.as_str().to_owned()),
            source_ref: command.source_ref.as_ref().map(|text| text.as_str().to_owned()),
            email,
            name,
        }
    }

    /// What may be kept of it, beside a member with this key or none.
    #[must_use]
    pub fn kept(self, key: Option<&ContactKey>) -> Self {
        Self { email: self.email.kept(key), name: self.name.kept(key), ..self }
    }

    /// Whether nothing tells the two apart.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.differing_fields(other).is_empty()
    }

    /// The contract's names of the fields in which two contents differ.
    pub fn differing_fields(&self, other: &Self) -> Vec<&'static str> {
        let fields = [
            ("type", self.command_type != other.command_type),
            ("points", self.points != other.points),
            ("email", self.email.differs(&other.email)),
            ("name", self.name.differs(&other.name)),
            ("reason", self.reason != other.reason),
            ("source_ref", self.source_ref != other.source_ref),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
    }
}
