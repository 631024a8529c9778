//! The rows that a batch reads and writes, as plain values.

use jiff::Timestamp;
use loyalty_common::{CommandId, CommandType, MemberId, Outcome, Points, RefusalCode, closed_set};
use tokio_postgres::Row;
use uuid::Uuid;

use loyalty_common::command::Command;
use loyalty_common::envelope::TraceContext;

use crate::contact::{Contact, ContactKey, Said};
use crate::pool::StoreError;

/// What names a command: its id, scoped to its member.
pub type Key = (MemberId, CommandId);

closed_set! {
    /// Where a member stands.
    pub enum MemberStatus {
        /// A command named them, but nobody ever enrolled them.
        Unenrolled = "unenrolled",
        /// A member.
        Active = "active",
        /// Was a member.
        Exited = "exited",
        /// Was a member until an operator ended it; nobody enrols them again.
        Terminated = "terminated",
    }
}

/// The numbers that rules look at and change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where the member stands.
    pub status: MemberStatus,
    /// Which membership this is: 0 before the first.
    pub epoch: i32,
    /// Lifetime points for each reward of this membership; none: no rewards.
    pub milestone: Option<i64>,
    /// Points to spend.
    pub balance: i64,
    /// Points earned in this membership; spending does not lower it.
    pub lifetime: i64,
}

impl Standing {
    /// Somebody of whom nothing is known.
    pub const UNENROLLED: Self =
        Self { status: MemberStatus::Unenrolled, epoch: 0, milestone: None, balance: 0, lifetime: 0 };
}

/// A member's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose.
    pub member_id: MemberId,
    /// The numbers.
    pub standing: Standing,
    /// The seq of the last ledger row; 0 when there is none.
    pub last_seq: i64,
    /// Where rewards are mailed, and how the mails address the member.
    pub contact: Contact,
    /// When this membership began.
    pub enrolled_at: Option<Timestamp>,
}

impl Account {
    /// The row of somebody whom a command named for the first time.
    pub fn unenrolled(member_id: MemberId) -> Self {
        Self { member_id, standing: Standing::UNENROLLED, last_seq: 0, contact: Contact::default(), enrolled_at: None }
    }
}

/// What makes two commands of one id the same command. `occurred_at` is not part of it: a sender that stamps its
/// retry afresh still means the same command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What was asked.
    pub command_type: CommandType,
    /// How many points.
    pub points: Option<i64>,
    /// Why.
    pub reason: Option<String>,
    /// What it came from.
    pub source_ref: Option<String>,
    /// What it says of the member's address.
    pub email: Said,
    /// What it says of the member's name.
    pub name: Said,
}

impl Content {
    /// The content of a command.
    pub fn of(command: &Command) -> Self {
        let (email, name) = match command.action.contact() {
            Some(fields) => (
                Said::of_change(&fields.email, |email| email.expose()),
                Said::of_change(&fields.name, |name| name.as_str()),
            ),
            None => (Said::Nothing, Said::Nothing),
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

    /// As the columns of a row of the ledger have it: `type`, `points`, `reason`, `source_ref`, `email_hmac`,
    /// `name_hmac`.
    pub(crate) fn from_row(row: &Row, key: Option<&ContactKey>) -> Result<Self, StoreError> {
        Ok(Self {
            command_type: CommandType::parse(row.get("type")).ok_or(StoreError::Foreign { column: "ledger.type" })?,
            points: row.get("points"),
            reason: row.get("reason"),
            source_ref: row.get("source_ref"),
            email: Said::from_row(row.get("email_hmac"), key),
            name: Said::from_row(row.get("name_hmac"), key),
        })
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

/// A new row of the ledger. When it was recorded is the transaction's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// Whose.
    pub member_id: MemberId,
    /// Its place: one more than the member's last.
    pub seq: i64,
    /// By which command.
    pub command_id: CommandId,
    /// In which membership.
    pub epoch: i32,
    /// What the command asked.
    pub content: Content,
    /// Whether it was applied.
    pub outcome: Outcome,
    /// Why not.
    pub code: Option<RefusalCode>,
    /// What it changed the balance by.
    pub delta: i64,
    /// The balance after it.
    pub balance_after: i64,
    /// When it happened in the shop.
    pub occurred_at: Timestamp,
}

/// A reward that a credit earned, with its mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewardRow {
    /// Whose.
    pub member_id: MemberId,
    /// Of which membership.
    pub epoch: i32,
    /// The how-manyth of that membership: 1, 2, 3, ...
    pub number: i64,
    /// The ledger row that earned it.
    pub seq: i64,
    /// The lifetime sum that was crossed.
    pub points: i64,
    /// What the member gets.
    pub title: String,
    /// Whether its mail has somewhere to go; if not there is none, and the mail's row says so.
    pub has_address: bool,
    /// The trace of the command that earned it; its mail goes on with it.
    pub trace: Option<TraceContext>,
}

/// The namespace of the ids of mails: a random UUID, fixed for ever.
const EMAIL_NAMESPACE: Uuid = Uuid::from_u128(0x5f0c_9ab4_6f0e_4b7c_9d6a_3c1e_88f2_b1d7);

impl RewardRow {
    /// The id of the reward's one mail. The same reward always has the same, so a resend is recognisable.
    pub fn email_id(&self) -> Uuid {
        let reward = format!("{}/{}/{}", self.member_id, self.epoch, self.number);
        Uuid::new_v5(&EMAIL_NAMESPACE, reward.as_bytes())
    }
}

/// A command that waits for its member's enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedCommand {
    /// Which.
    pub key: Key,
    /// As it came.
    pub body: Vec<u8>,
}
