//! What other systems ask for: one command about one member. This is version 1 of the wire contract.
//!
//! [`decode`](crate::decode::decode) is the only way in and [`Command::encode`] the only way out; what the one
//! writes the other reads. `registry` lists the types of commands.
//!
//! A new type is a file here that declares its payload by `payload!`, with its doc comments, and its `Rules`: scope,
//! event, whether it parks. Then a line in `registry`, and a `mod` below. A new kind of field (a decimal amount, tags,
//! a target) is a newtype beside those of [`values`](crate::values) that implements `FieldValue` in `field`, and what
//! it is to JSON Schema in `schema/value.rs`; a test holds the two to each other.

mod adjust;
mod capture;
mod change;
mod decode_error;
mod earn;
mod enroll;
mod exit;
mod field;
pub(crate) mod fields;
mod hold;
mod payload;
mod redeem;
mod registry;
mod release;
mod reverse;
mod spend;
mod terminate;
mod update;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::ids::{CommandId, MemberId};
use crate::values::Text;

pub use crate::rfc3339::to_microseconds;
pub use change::Change;
pub use decode_error::DecodeError;
pub(crate) use field::Field;
pub use field::{Doc, FieldInfo, Presence};
pub use hold::HOLD_MAX;
pub use payload::{About, ContactFields};
pub use registry::payloads::*;
pub use registry::{Action, CommandType, payloads};

/// The version of the command contract, the field `v`.
pub const VERSION: u64 = 1;

/// The AMQP property `type` of a command.
pub const MESSAGE_TYPE: &str = "loyalty.command.v1";

/// The largest body of a command in bytes. Part of the contract.
pub const BODY_MAX_BYTES: usize = 64 * 1024;

/// How far ahead of the database's clock `occurred_at` may be. Part of the contract: tills have wrong clocks, and a
/// purchase of tomorrow is one of them.
pub const CLOCK_AHEAD_MAX: SignedDuration = SignedDuration::from_mins(5);

/// One command about one member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    /// The idempotency key, scoped to the member.
    pub command_id: CommandId,
    /// Whom it is about.
    pub member_id: MemberId,
    /// When it happened in the shop, to the microsecond (what PostgreSQL keeps).
    pub occurred_at: Timestamp,
    /// Why, for people: "order 991".
    pub reason: Option<Text>,
    /// What it came from, for machines: "order:991".
    pub source_ref: Option<Text>,
    /// What is asked.
    pub action: Action,
}

impl Command {
    /// A command that happens now, under a fresh id.
    pub fn new(member_id: MemberId, action: impl Into<Action>) -> Self {
        Self {
            command_id: CommandId::fresh(),
            member_id,
            occurred_at: to_microseconds(Timestamp::now()),
            reason: None,
            source_ref: None,
            action: action.into(),
        }
    }

    /// The name of the command's action on the wire.
    pub const fn command_type(&self) -> CommandType {
        self.action.command_type()
    }

    /// Whether its fields make sense together: what the decoder asks beyond each field by itself.
    pub fn check(&self) -> Result<(), DecodeError> {
        if self.command_id.is_of_system_row() {
            return Err(DecodeError::field_error("command_id", OWN_VERSION));
        }
        let is_missing = |field: &&EnvelopeField| match field {
            EnvelopeField::Reason => self.reason.is_none(),
            EnvelopeField::SourceRef => self.source_ref.is_none(),
        };
        match self.command_type().about().requires.iter().find(is_missing) {
            Some(field) => Err(DecodeError::missing(field.as_str())),
            None => self.check_time(),
        }
    }

    /// Whether they make sense for when it happened: the part of it that a receiver who says when that was decides.
    pub fn check_time(&self) -> Result<(), DecodeError> {
        self.action.check_at(self.occurred_at)
    }

    /// The body of the message, as the contract spells it.
    pub fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            v: VERSION,
            command_id: self.command_id,
            member_id: &self.member_id,
            r#type: self.command_type(),
            action: &self.action,
            occurred_at: self.occurred_at,
            reason: self.reason.as_ref(),
            source_ref: self.source_ref.as_ref(),
        };
        serde_json::to_vec(&wire).expect("strings and integers always serialize")
    }
}

/// Why a sender's id is refused that could be one of ours.
const OWN_VERSION: &str = "must not be a UUID of version 8: what happens by itself has ids of that version";

string_enum! {
    /// A field that every command may carry, whatever its type.
    pub enum EnvelopeField {
        /// [`Command::reason`]
        Reason = "reason",
        /// [`Command::source_ref`]
        SourceRef = "source_ref",
    }
}

/// A command whose sender may leave its id and its time to whoever receives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Draft {
    /// The idempotency key, if the sender made it.
    pub command_id: Option<CommandId>,
    /// Whom it is about.
    pub member_id: MemberId,
    /// When it happened, if the sender says so.
    pub occurred_at: Option<Timestamp>,
    /// As in [`Command`].
    pub reason: Option<Text>,
    /// As in [`Command`].
    pub source_ref: Option<Text>,
    /// What is asked.
    pub action: Action,
}

impl Draft {
    /// The command, with this id and this time in the places that are empty, if its fields make sense together.
    pub fn completed(self, command_id: CommandId, occurred_at: Timestamp) -> Result<Command, DecodeError> {
        let command = self.filled(command_id, occurred_at);
        command.check().map(|()| command)
    }

    /// The same, of which nobody has looked yet whether its fields make sense together.
    pub fn filled(self, command_id: CommandId, occurred_at: Timestamp) -> Command {
        Command {
            command_id: self.command_id.unwrap_or(command_id),
            member_id: self.member_id,
            occurred_at: self.occurred_at.unwrap_or_else(|| to_microseconds(occurred_at)),
            reason: self.reason,
            source_ref: self.source_ref,
            action: self.action,
        }
    }
}

/// The fields in the order of the contract.
#[derive(Serialize)]
struct Wire<'a> {
    v: u64,
    command_id: CommandId,
    member_id: &'a MemberId,
    r#type: CommandType,
    #[serde(flatten)]
    action: &'a Action,
    occurred_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ref: Option<&'a Text>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Points;
    use crate::decode::{decode, decode_draft};

    fn command(action: Action) -> Command {
        Command {
            command_id: "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11".parse().expect("a UUID"),
            member_id: "123".parse().expect("a member id"),
            occurred_at: "2026-11-22T10:00:00Z".parse().expect("a time"),
            reason: Some("order 991".parse().expect("a text")),
            source_ref: Some("order:991".parse().expect("a text")),
            action,
        }
    }

    fn wire(action: Action) -> String {
        let command = command(action);
        let body = command.encode();
        assert_eq!(decode(&body), Ok(command), "what is written is read back");
        String::from_utf8(body).expect("JSON is UTF-8")
    }

    /// The wire format is public: a change here breaks every publisher.
    #[test]
    fn the_wire_format_is_pinned() {
        let points = Points::try_new(50).expect("points");
        let enroll = Enroll {
            email: Some("ann@example.com".parse().expect("an address")),
            name: Some("Ann".parse().expect("a name")),
        }
        .into();
        insta::assert_snapshot!(wire(Earn { points }.into()), @r#"{"v":1,"command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","member_id":"123","type":"earn","points":50,"occurred_at":"2026-11-22T10:00:00Z","reason":"order 991","source_ref":"order:991"}"#);
        insta::assert_snapshot!(wire(Spend { points }.into()), @r#"{"v":1,"command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","member_id":"123","type":"spend","points":50,"occurred_at":"2026-11-22T10:00:00Z","reason":"order 991","source_ref":"order:991"}"#);
        insta::assert_snapshot!(wire(enroll), @r#"{"v":1,"command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","member_id":"123","type":"enroll","email":"ann@example.com","name":"Ann","occurred_at":"2026-11-22T10:00:00Z","reason":"order 991","source_ref":"order:991"}"#);
        let update = |email, name| Action::from(Update::try_new(email, name).expect("a change"));
        let address = Change::Set("ann@example.com".parse().expect("an address"));
        insta::assert_snapshot!(wire(update(address, Change::Clear)), @r#"{"v":1,"command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","member_id":"123","type":"update","email":"ann@example.com","name":null,"occurred_at":"2026-11-22T10:00:00Z","reason":"order 991","source_ref":"order:991"}"#);
        insta::assert_snapshot!(wire(update(Change::Clear, Change::Keep)), @r#"{"v":1,"command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","member_id":"123","type":"update","email":null,"occurred_at":"2026-11-22T10:00:00Z","reason":"order 991","source_ref":"order:991"}"#);
        insta::assert_snapshot!(wire(Exit.into()), @r#"{"v":1,"command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","member_id":"123","type":"exit","occurred_at":"2026-11-22T10:00:00Z","reason":"order 991","source_ref":"order:991"}"#);
        insta::assert_snapshot!(wire(Terminate.into()), @r#"{"v":1,"command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","member_id":"123","type":"terminate","occurred_at":"2026-11-22T10:00:00Z","reason":"order 991","source_ref":"order:991"}"#);
    }

    #[test]
    fn a_draft_may_leave_its_id_and_its_time_to_its_receiver() {
        let whole = command(Exit.into());
        let left_out = |body: &str| decode(body.as_bytes()).expect_err("it is missing").to_string();
        let body = r#"{"v":1,"member_id":"123","type":"exit","reason":"order 991","source_ref":"order:991"}"#;
        let draft = decode_draft(body.as_bytes()).expect("a draft");
        assert_eq!((draft.command_id, draft.occurred_at), (None, None));
        assert_eq!(draft.completed(whole.command_id, whole.occurred_at), Ok(whole.clone()));
        assert_eq!(left_out(body), "`command_id` is missing");
        let id = format!(r#"{{"command_id":"{}",{}"#, whole.command_id, &body[1..]);
        assert_eq!(left_out(&id), "`occurred_at` is missing");
        // What is given must be right all the same.
        let wrong = decode_draft(id.replace("019a8f2e", "").as_bytes()).expect_err("no UUID");
        assert_eq!(wrong.to_string(), "`command_id` must be a UUID such as 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11");
    }
}
