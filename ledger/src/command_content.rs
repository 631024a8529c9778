//! What a row of the ledger says besides its effects: what its command said, as far as it tells a repeat of it from a
//! conflict.

use jiff::Timestamp;
use loyalty_common::command::{FieldInfo, Presence};
use loyalty_common::event::EntryFields;
use loyalty_common::{Action, Command, CommandId, EntryType, MemberId};
use serde_json::Value;

use crate::contact::{ContactKey, StatedValue};

/// What names a command: its id, scoped to its member.
pub type CommandKey = (MemberId, CommandId);

/// What makes two commands of one id the same command. `occurred_at` is not part of it: a sender that stamps its
/// retry afresh still means the same command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandContent {
    /// What was asked, or what happened by itself.
    pub entry_type: EntryType,
    pub points: Option<i64>,
    /// Which earlier command it is about.
    pub target: Option<CommandId>,
    /// When what it does is over.
    pub expires_at: Option<Timestamp>,
    /// Whether points count as earned, where that is for the command to say.
    pub counts: Option<bool>,
    /// The number of the reward that it is about.
    pub number: Option<i64>,
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
        let action = &command.action;
        Self {
            points: action.points(),
            target: action.target(),
            expires_at: action.expires_at(),
            counts: action.counts(),
            number: action.number(),
            reason: command.reason.as_ref().map(|text| text.as_str().to_owned()),
            source_ref: command.source_ref.as_ref().map(|text| text.as_str().to_owned()),
            email,
            name,
            ..Self::none(command.command_type().into())
        }
    }

    /// The content of something that says nothing but its type.
    pub const fn none(entry_type: EntryType) -> Self {
        Self {
            entry_type,
            points: None,
            target: None,
            expires_at: None,
            counts: None,
            number: None,
            reason: None,
            source_ref: None,
            email: StatedValue::Nothing,
            name: StatedValue::Nothing,
        }
    }

    /// The command's action again, as far as the rules look at it: an address and a name are none of their numbers.
    pub fn action(&self) -> Option<Action> {
        let EntryType::Command(command_type) = self.entry_type else { return None };
        let field = |field: &FieldInfo| Some((field.name.to_owned(), self.value(field)?));
        let fields = command_type.about().fields.iter().filter_map(field);
        Action::of_fields(command_type, fields.collect()).ok()
    }

    /// What stands in a field of the command. One that can be cleared is personal, and is: what it was is not kept.
    fn value(&self, field: &FieldInfo) -> Option<Value> {
        match field.name {
            "points" => self.points.map(Value::from),
            "target" => self.target.map(|it| it.to_string().into()),
            "expires_at" => self.expires_at.map(|it| it.to_string().into()),
            "counts" => self.counts.map(Value::from),
            "number" => self.number.map(Value::from),
            _ => (field.presence == Presence::Clearable).then_some(Value::Null),
        }
    }

    /// What events tell of it.
    pub const fn event_fields(&self) -> EntryFields {
        let Self { entry_type, points, target, expires_at, number, .. } = *self;
        EntryFields { entry_type, points, target, expires_at, number }
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
            ("type", self.entry_type != other.entry_type),
            ("points", self.points != other.points),
            ("target", self.target != other.target),
            ("expires_at", self.expires_at != other.expires_at),
            ("counts", self.counts != other.counts),
            ("number", self.number != other.number),
            ("email", self.email.differs(&other.email)),
            ("name", self.name.differs(&other.name)),
            ("reason", self.reason != other.reason),
            ("source_ref", self.source_ref != other.source_ref),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
    }
}
