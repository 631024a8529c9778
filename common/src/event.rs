//! What happened, for whoever listens: one event for each row of the ledger, one for each reward, and warnings of
//! points that expire soon. This is version 1 of the wire contract.
//!
//! An event never carries an address, a name, or what a sender wrote as a reason: who may listen is decided on the
//! broker, and a message that was read cannot be taken back.

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::command::{Action, CommandType};
use crate::entry_type::{EntryType, SystemType};
use crate::ids::{CommandId, MemberId};
use crate::receipt::{RefusalCode, is_zero};

/// The version of the event contract, the field `v`.
pub const VERSION: u64 = 1;

/// The AMQP property `type` of an event.
pub const MESSAGE_TYPE: &str = "loyalty.event.v1";

/// Something that happened to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// To whom.
    pub member_id: MemberId,
    /// The member's version: the place in their ledger of the row that says so, or of the last one before a warning.
    /// 1, 2, 3, ...
    pub seq: i64,
    /// Which membership. 0 before the first.
    pub epoch: i32,
    /// The id of that row, which is its command's; none of a warning.
    pub command_id: Option<CommandId>,
    /// What happened.
    pub kind: EventKind,
    /// What it changed the balance by.
    pub delta: i64,
    /// What it changed the points that are held by.
    pub held_delta: i64,
    /// What it changed the debt by.
    pub debt_delta: i64,
    /// The balance after it.
    pub balance: i64,
    /// The points earned in this membership after it.
    pub lifetime: i64,
    /// When it happened in the shop.
    pub occurred_at: Timestamp,
    /// When it was decided, by the database's clock.
    pub recorded_at: Timestamp,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A command was applied, or something happened by itself.
    Applied(EntryFields),
    /// A command was refused; nothing changed.
    Refused(EntryFields, RefusalCode),
    /// The points just added earned a reward.
    Granted {
        /// What added them.
        entry_type: EntryType,
        /// What they earned.
        reward: Reward,
    },
    /// Points will expire soon: a warning, which has no row of its own.
    Expiring {
        /// The last day on which they can be spent.
        expires_on: Date,
        /// How many there are.
        points: i64,
    },
}

/// What a row of the ledger says beside its effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryFields {
    /// What the command asked for, or what happened by itself.
    pub entry_type: EntryType,
    /// The points that it named, if it named any.
    pub points: Option<i64>,
    /// The earlier command that it is about.
    pub target: Option<CommandId>,
    /// When what it does is over.
    pub expires_at: Option<Timestamp>,
    /// The number of the reward that it is about.
    pub number: Option<i64>,
}

impl EntryFields {
    /// Those of a command.
    pub fn of(action: &Action) -> Self {
        Self {
            points: action.points(),
            target: action.target(),
            expires_at: action.expires_at(),
            number: action.number(),
            ..Self::none(action.command_type().into())
        }
    }

    /// Those of something that says nothing but its type.
    pub const fn none(entry_type: EntryType) -> Self {
        Self { entry_type, points: None, target: None, expires_at: None, number: None }
    }
}

/// A reward as an event tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reward {
    /// Its number in the membership: 1, 2, 3, ...
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub number: i64,
    /// The lifetime sum that was crossed.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub points: i64,
    /// What the member gets.
    pub title: String,
}

/// The type of an event: its field `type` and its routing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// [`EventKind::Applied`]
    Applied(EntryType),
    /// [`EventKind::Refused`]
    CommandRefused,
    /// [`EventKind::Granted`]
    RewardGranted,
    /// [`EventKind::Expiring`]
    PointsExpiring,
}

impl EventType {
    /// One for each name. Where two types of rows share one, it is that of the command.
    pub const ALL: &'static [Self] = &{
        let others = [Self::Applied(EntryType::System(SystemType::Expire)), Self::CommandRefused, Self::RewardGranted];
        let mut all = [Self::PointsExpiring; CommandType::ALL.len() + 4];
        let mut at = 0;
        while at < CommandType::ALL.len() {
            all[at] = Self::Applied(EntryType::Command(CommandType::ALL[at]));
            at += 1;
        }
        let mut other = 0;
        while other < others.len() {
            all[at + other] = others[other];
            other += 1;
        }
        all
    };

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied(entry_type) => entry_type.event(),
            Self::CommandRefused => "command.refused",
            Self::RewardGranted => "reward.granted",
            Self::PointsExpiring => "points.expiring",
        }
    }

    /// What an event of this type says.
    pub const fn doc(self) -> &'static str {
        match self {
            Self::Applied(entry_type) => entry_type.event_doc(),
            Self::CommandRefused => "A command was refused, for good; nothing changed.",
            Self::RewardGranted => "Points that were added earned a reward. Has the seq of their event.",
            Self::PointsExpiring => "Points will expire soon: a warning. Has the seq of the member's last event.",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl EventKind {
    /// The name on the wire.
    pub const fn event_type(&self) -> EventType {
        match self {
            Self::Applied(fields) => EventType::Applied(fields.entry_type),
            Self::Refused(..) => EventType::CommandRefused,
            Self::Granted { .. } => EventType::RewardGranted,
            Self::Expiring { .. } => EventType::PointsExpiring,
        }
    }

    /// The type of the row that it tells of.
    const fn entry_type(&self) -> Option<EntryType> {
        match self {
            Self::Applied(EntryFields { entry_type, .. })
            | Self::Refused(EntryFields { entry_type, .. }, _)
            | Self::Granted { entry_type, .. } => Some(*entry_type),
            Self::Expiring { .. } => None,
        }
    }

    /// What the row says. A reward's points are its own.
    const fn fields(&self) -> Option<&EntryFields> {
        match self {
            Self::Applied(fields) | Self::Refused(fields, _) => Some(fields),
            Self::Granted { .. } | Self::Expiring { .. } => None,
        }
    }

    const fn code(&self) -> Option<RefusalCode> {
        match self {
            Self::Refused(_, code) => Some(*code),
            Self::Applied(_) | Self::Granted { .. } | Self::Expiring { .. } => None,
        }
    }

    const fn reward(&self) -> Option<&Reward> {
        match self {
            Self::Granted { reward, .. } => Some(reward),
            Self::Applied(_) | Self::Refused(..) | Self::Expiring { .. } => None,
        }
    }

    const fn expiring(&self) -> Option<(Date, i64)> {
        match self {
            Self::Expiring { expires_on, points } => Some((*expires_on, *points)),
            Self::Applied(_) | Self::Refused(..) | Self::Granted { .. } => None,
        }
    }

    /// What tells it from others of its type at its place.
    fn discriminator(&self) -> String {
        match self {
            Self::Applied(_) | Self::Refused(..) => "0".to_owned(),
            Self::Granted { reward, .. } => reward.number.to_string(),
            Self::Expiring { expires_on, .. } => expires_on.to_string(),
        }
    }
}

/// The namespace of the ids of events: a random UUID, fixed for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x8d1c_3f57_02b4_4e0a_b6f3_91d7_5ce8_4a26);

impl Event {
    /// Its id, the same for the same event, so that a listener recognises a repeat.
    pub fn id(&self) -> Uuid {
        // The member comes last: only their id can hold a slash.
        let (event_type, discriminator) = (self.kind.event_type(), self.kind.discriminator());
        let name = format!("{}/{event_type}/{discriminator}/{}", self.seq, self.member_id);
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }

    /// Its kind and its routing key.
    pub const fn event_type(&self) -> EventType {
        self.kind.event_type()
    }

    /// The body of the message, as the contract spells it.
    pub fn encode(&self) -> Vec<u8> {
        let (fields, expiring) = (self.kind.fields(), self.kind.expiring());
        let wire = Wire {
            v: VERSION,
            event_id: self.id(),
            r#type: self.event_type(),
            member_id: &self.member_id,
            seq: self.seq,
            epoch: self.epoch,
            command_id: self.command_id,
            command_type: self.kind.entry_type(),
            code: self.kind.code(),
            points: fields.and_then(|it| it.points).or(expiring.map(|(_, points)| points)),
            target: fields.and_then(|it| it.target),
            expires_at: fields.and_then(|it| it.expires_at),
            expires_on: expiring.map(|(day, _)| day),
            number: fields.and_then(|it| it.number),
            reward: self.kind.reward(),
            delta: self.delta,
            held_delta: self.held_delta,
            debt_delta: self.debt_delta,
            balance: self.balance,
            lifetime: self.lifetime,
            occurred_at: self.occurred_at,
            recorded_at: self.recorded_at,
        };
        serde_json::to_vec(&wire).expect("strings and integers always serialize")
    }
}

/// The event as it stands on the wire. Its comments are published.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Wire<'a> {
    /// The version of this contract.
    v: u64,
    /// The same for the same event, which may come more than once. Also the `message_id`.
    event_id: Uuid,
    /// Also the routing key.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    r#type: EventType,
    /// Who it is about.
    member_id: &'a MemberId,
    /// The member's version: 1, 2, 3, ... without a gap. What is below the last is stale.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    seq: i64,
    /// Which membership: 1, and one more for each enrolment; 0 before the first.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    epoch: i32,
    /// By which command; of what happened by itself, a UUID of version 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "CommandId"))]
    command_id: Option<CommandId>,
    /// What the command asked for, or what happened by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "EntryType"))]
    command_type: Option<EntryType>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "RefusalCode"))]
    code: Option<RefusalCode>,
    /// The points that the command named, or of which a warning tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "i64"))]
    points: Option<i64>,
    /// The earlier command that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "CommandId"))]
    target: Option<CommandId>,
    /// When what it does is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Timestamp"))]
    expires_at: Option<Timestamp>,
    /// The last day on which the points can be spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Date"))]
    expires_on: Option<Date>,
    /// The number of the reward that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "i64", range(min = 1)))]
    number: Option<i64>,
    /// What the points that were added have earned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Reward"))]
    reward: Option<&'a Reward>,
    /// What it changed the balance by.
    delta: i64,
    /// What it changed the points that are held by; left out where it is 0.
    #[serde(skip_serializing_if = "is_zero")]
    held_delta: i64,
    /// What it changed the debt by; left out where it is 0.
    #[serde(skip_serializing_if = "is_zero")]
    debt_delta: i64,
    /// The balance after it.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    balance: i64,
    /// The points earned in this membership after it.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    lifetime: i64,
    /// When it happened in the shop.
    occurred_at: Timestamp,
    /// When it was decided, by the database's clock.
    recorded_at: Timestamp,
}
