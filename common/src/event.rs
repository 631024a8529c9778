//! What happened, for whoever listens: one event for each row of the ledger, and one for each reward. This is version 1
//! of the wire contract.
//!
//! An event never carries an address, a name, or what a sender wrote as a reason: who may listen is decided on the
//! broker, and a message that was read cannot be taken back.

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::command::{Action, CommandType};
use crate::ids::{CommandId, MemberId};
use crate::receipt::RefusalCode;
use crate::text::Points;

/// The version of the event contract, the field `v`.
pub const VERSION: u64 = 1;

/// The AMQP property `type` of an event.
pub const MESSAGE_TYPE: &str = "loyalty.event.v1";

/// Something that happened to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// To whom.
    pub member_id: MemberId,
    /// The member's version: the place in their ledger of the row that says so. 1, 2, 3, ...
    pub seq: i64,
    /// Which membership. 0 before the first.
    pub epoch: i32,
    /// By which command.
    pub command_id: CommandId,
    /// What happened.
    pub kind: EventKind,
    /// What it changed the balance by.
    pub delta: i64,
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
    /// A command was applied.
    Applied {
        /// What it asked for.
        command_type: CommandType,
        /// The points that it named, if its type names any.
        points: Option<Points>,
    },
    /// A command was refused; nothing changed.
    Refused {
        /// What it asked for.
        command_type: CommandType,
        /// The points that it named, if its type names any.
        points: Option<Points>,
        /// Why.
        code: RefusalCode,
    },
    /// The points just added earned a reward.
    Granted(Reward),
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

/// The type of an event: its field `type` and its routing key. One for each type of command that can be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// [`EventKind::Applied`]
    Applied(CommandType),
    /// [`EventKind::Refused`]
    CommandRefused,
    /// [`EventKind::Granted`]
    RewardGranted,
}

impl EventType {
    /// All of them.
    pub const ALL: &'static [Self] = &{
        let mut all = [Self::CommandRefused; CommandType::ALL.len() + 2];
        let mut at = 0;
        while at < CommandType::ALL.len() {
            all[at] = Self::Applied(CommandType::ALL[at]);
            at += 1;
        }
        all[at + 1] = Self::RewardGranted;
        all
    };

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied(command_type) => command_type.about().event,
            Self::CommandRefused => "command.refused",
            Self::RewardGranted => "reward.granted",
        }
    }

    /// What an event of this type says.
    pub const fn doc(self) -> &'static str {
        match self {
            Self::Applied(command_type) => command_type.about().event_doc,
            Self::CommandRefused => "A command was refused, for good; nothing changed.",
            Self::RewardGranted => "Points that were added earned a reward. Has the seq of their event.",
        }
    }

    /// The type of the command that it tells of; of a refusal, any.
    pub const fn command_type(self) -> Option<CommandType> {
        match self {
            Self::Applied(command_type) => Some(command_type),
            Self::CommandRefused => None,
            Self::RewardGranted => Some(CommandType::Earn),
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
    /// What an applied command did.
    pub fn applied(action: &Action) -> Self {
        Self::Applied { command_type: action.command_type(), points: action.points() }
    }

    /// A command that was refused.
    pub fn refused(action: &Action, code: RefusalCode) -> Self {
        Self::Refused { command_type: action.command_type(), points: action.points(), code }
    }

    /// The name on the wire.
    pub const fn event_type(&self) -> EventType {
        match self {
            Self::Applied { command_type, .. } => command_type.event_type(),
            Self::Refused { .. } => EventType::CommandRefused,
            Self::Granted(_) => EventType::RewardGranted,
        }
    }

    /// What the command asked for.
    const fn command_type(&self) -> CommandType {
        match self {
            Self::Applied { command_type, .. } | Self::Refused { command_type, .. } => *command_type,
            Self::Granted(_) => CommandType::Earn,
        }
    }

    /// The points that the command named. A reward's are its own.
    const fn points(&self) -> Option<Points> {
        match self {
            Self::Applied { points, .. } | Self::Refused { points, .. } => *points,
            Self::Granted(_) => None,
        }
    }

    const fn code(&self) -> Option<RefusalCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Applied { .. } | Self::Granted(_) => None,
        }
    }

    const fn reward(&self) -> Option<&Reward> {
        match self {
            Self::Granted(reward) => Some(reward),
            Self::Applied { .. } | Self::Refused { .. } => None,
        }
    }
}

/// The namespace of the ids of events: a random UUID, fixed for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x8d1c_3f57_02b4_4e0a_b6f3_91d7_5ce8_4a26);

impl Event {
    /// Its id, the same for the same event, so that a listener recognises a repeat.
    pub fn id(&self) -> Uuid {
        let number = self.kind.reward().map_or(0, |reward| reward.number);
        // The member comes last: only their id can hold a slash.
        let name = format!("{}/{}/{number}/{}", self.seq, self.kind.event_type(), self.member_id);
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }

    /// Its kind and its routing key.
    pub const fn event_type(&self) -> EventType {
        self.kind.event_type()
    }

    /// The body of the message, as the contract spells it.
    pub fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            v: VERSION,
            event_id: self.id(),
            r#type: self.event_type(),
            member_id: &self.member_id,
            seq: self.seq,
            epoch: self.epoch,
            command_id: self.command_id,
            command_type: self.kind.command_type(),
            code: self.kind.code(),
            points: self.kind.points(),
            reward: self.kind.reward(),
            delta: self.delta,
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
    /// By which command.
    command_id: CommandId,
    /// What the command asked for.
    command_type: CommandType,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "RefusalCode"))]
    code: Option<RefusalCode>,
    /// The points that the command named.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Points"))]
    points: Option<Points>,
    /// What the points that were added have earned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Reward"))]
    reward: Option<&'a Reward>,
    /// What it changed the balance by.
    delta: i64,
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
