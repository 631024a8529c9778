//! What happened, for whoever listens: one event for each row of the ledger, and one for each reward. This is version 1
//! of the wire contract.
//!
//! An event never carries an address, a name, or what a sender wrote as a reason: who may listen is decided on the
//! broker, and a message that was read cannot be taken back.

#[cfg(test)]
pub(crate) mod tests;

use jiff::Timestamp;
use serde::Serialize;
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
    /// What.
    pub what: What,
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
pub enum What {
    /// Somebody became a member, or again one.
    Enrolled,
    /// A member's address or name was changed.
    Updated,
    /// Points were added.
    Earned {
        /// How many.
        points: Points,
    },
    /// Points were taken.
    Spent {
        /// How many.
        points: Points,
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
    /// A member left.
    Exited,
    /// An operator ended a membership for good.
    Terminated,
}

/// A reward as an event tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reward {
    /// The how-manyth of the membership: 1, 2, 3, ...
    pub number: i64,
    /// The lifetime sum that was crossed.
    pub points: i64,
    /// What the member gets.
    pub title: String,
}

closed_set! {
    /// The kind of an event: its field `type` and its routing key.
    pub enum EventType {
        /// [`What::Enrolled`]
        MemberEnrolled = "member.enrolled",
        /// [`What::Updated`]
        MemberUpdated = "member.updated",
        /// [`What::Earned`]
        PointsEarned = "points.earned",
        /// [`What::Spent`]
        PointsSpent = "points.spent",
        /// [`What::Refused`]
        CommandRefused = "command.refused",
        /// [`What::Granted`]
        RewardGranted = "reward.granted",
        /// [`What::Exited`]
        MemberExited = "member.exited",
        /// [`What::Terminated`]
        MemberTerminated = "member.terminated",
    }
}

impl What {
    /// What an applied command did.
    pub const fn applied(action: &Action) -> Self {
        match action {
            Action::Enroll { .. } => Self::Enrolled,
            Action::Update(_) => Self::Updated,
            Action::Earn { points } => Self::Earned { points: *points },
            Action::Spend { points } => Self::Spent { points: *points },
            Action::Exit => Self::Exited,
            Action::Terminate => Self::Terminated,
        }
    }

    /// A command that was refused.
    pub const fn refused(action: &Action, code: RefusalCode) -> Self {
        Self::Refused { command_type: action.command_type(), points: action.points(), code }
    }

    /// The name on the wire.
    pub const fn event_type(&self) -> EventType {
        match self {
            Self::Enrolled => EventType::MemberEnrolled,
            Self::Updated => EventType::MemberUpdated,
            Self::Earned { .. } => EventType::PointsEarned,
            Self::Spent { .. } => EventType::PointsSpent,
            Self::Refused { .. } => EventType::CommandRefused,
            Self::Granted(_) => EventType::RewardGranted,
            Self::Exited => EventType::MemberExited,
            Self::Terminated => EventType::MemberTerminated,
        }
    }

    /// What the command asked for.
    const fn command_type(&self) -> CommandType {
        match self {
            Self::Enrolled => CommandType::Enroll,
            Self::Updated => CommandType::Update,
            Self::Earned { .. } | Self::Granted(_) => CommandType::Earn,
            Self::Spent { .. } => CommandType::Spend,
            Self::Refused { command_type, .. } => *command_type,
            Self::Exited => CommandType::Exit,
            Self::Terminated => CommandType::Terminate,
        }
    }

    /// The points that the command named. A reward's are its own.
    const fn points(&self) -> Option<Points> {
        match self {
            Self::Earned { points } | Self::Spent { points } => Some(*points),
            Self::Refused { points, .. } => *points,
            Self::Enrolled | Self::Updated | Self::Granted(_) | Self::Exited | Self::Terminated => None,
        }
    }

    const fn code(&self) -> Option<RefusalCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Enrolled
            | Self::Updated
            | Self::Earned { .. }
            | Self::Spent { .. }
            | Self::Granted(_)
            | Self::Exited
            | Self::Terminated => None,
        }
    }

    const fn reward(&self) -> Option<&Reward> {
        match self {
            Self::Granted(reward) => Some(reward),
            Self::Enrolled
            | Self::Updated
            | Self::Earned { .. }
            | Self::Spent { .. }
            | Self::Refused { .. }
            | Self::Exited
            | Self::Terminated => None,
        }
    }
}

/// The namespace of the ids of events: a random UUID, fixed for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x8d1c_3f57_02b4_4e0a_b6f3_91d7_5ce8_4a26);

impl Event {
    /// Its id, the same for the same event, so that a listener recognises a repeat.
    pub fn id(&self) -> Uuid {
        let number = self.what.reward().map_or(0, |reward| reward.number);
        // The member comes last: only their id can hold a slash.
        let name = format!("{}/{}/{number}/{}", self.seq, self.what.event_type(), self.member_id);
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }

    /// Its kind and its routing key.
    pub const fn event_type(&self) -> EventType {
        self.what.event_type()
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
            command_type: self.what.command_type(),
            code: self.what.code(),
            points: self.what.points().map(Points::get),
            reward: self.what.reward(),
            delta: self.delta,
            balance: self.balance,
            lifetime: self.lifetime,
            occurred_at: self.occurred_at,
            recorded_at: self.recorded_at,
        };
        serde_json::to_vec(&wire).expect("strings and integers always serialize")
    }
}

/// The event as it stands on the wire.
#[derive(Serialize)]
struct Wire<'a> {
    v: u64,
    event_id: Uuid,
    r#type: EventType,
    member_id: &'a MemberId,
    seq: i64,
    epoch: i32,
    command_id: CommandId,
    command_type: CommandType,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<RefusalCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reward: Option<&'a Reward>,
    delta: i64,
    balance: i64,
    lifetime: i64,
    occurred_at: Timestamp,
    recorded_at: Timestamp,
}
