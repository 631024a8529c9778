//! Dead letters as an operator sees and treats them: listed, shown, edited, replayed, discarded.
//!
//! What only looks takes the pool and change nothing; what changes a dead letter asks for a
//! [`OperatorApproval`](crate::approval::OperatorApproval) or for the [`Replay`] that one made, and leaves a line in
//! the dead letter's history. No dead letter is ever deleted, and the body stays as it came until an operator erases
//! it.

use std::fmt;

use jiff::Timestamp;
use loyalty_common::values::Invalid;
use loyalty_common::{CommandId, CommandType, MemberId, string_enum};
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::email_id::EmailId;
use crate::pool::StoreError;

mod change;
mod claim;
mod filter;
mod history;
mod keep;
mod list;
mod outcome;
mod reason;
mod record;
mod replayable;

pub use change::{EditError, EditedBody, Erased, discard, edit, erase};
pub use claim::{Claimed, Held, Replay, claim, leave, release, renew};
pub use filter::Filter;
pub(crate) use history::of_email;
pub use history::{Action, Event};
pub use keep::keep;
pub use list::{Count, Grouping, Opened, counts, list, matching, open, page};
pub(crate) use outcome::conclude;
pub use outcome::{Concluded, Pending, ReplayResult, settle, settle_abandoned};
pub use reason::{Reason, Unusable};
pub use record::{NewDeadLetter, record};
pub use replayable::{Replayable, Subject, replayable};

/// A dead letter, without its body and headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    pub dead_letter_id: DeadLetterId,
    /// What an operator has made of it.
    pub state: DeadLetterState,
    pub reason: Reason,
    /// What exactly was wrong.
    pub error: String,
    /// The queue it came from.
    pub source: String,
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    pub member_id: Option<MemberId>,
    /// The command's id, if that is known.
    pub command_id: Option<CommandId>,
    /// The command's type, if that is known.
    pub command_type: Option<CommandType>,
    /// The email, if it is about one.
    pub email_id: Option<Uuid>,
    /// The size of the body as it came.
    pub body_bytes: i32,
    /// How often it was set aside.
    pub attempts: i32,
    /// When it was set aside first.
    pub first_at: Timestamp,
    /// When it was set aside last.
    pub last_at: Timestamp,
    /// When an operator wrote another body for it.
    pub edited_at: Option<Timestamp>,
    /// The replay that holds it.
    pub claim: Option<Claim>,
    /// What its replay came to.
    pub result: Option<ReplayResult>,
    /// The dead letter that it became when it failed again.
    pub successor_id: Option<DeadLetterId>,
}

/// A replay's hold on a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    pub by: String,
    pub since: Timestamp,
    /// Until when nobody else may. The replay moves this on while it runs.
    pub until: Timestamp,
}

string_enum! {
    /// What an operator has made of a dead letter.
    pub enum DeadLetterState {
        /// Nothing yet.
        Open = "open",
        /// A replay holds it, and what became of it is not known yet.
        Replaying = "replaying",
        /// It was sent again, and what became of it is known.
        Replayed = "replayed",
        /// It will not be sent again.
        Discarded = "discarded",
    }
}

/// The number of a dead letter. They rise in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct DeadLetterId(i64);

impl DeadLetterId {
    /// The number, for the database and for a replay's header.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for DeadLetterId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number = text.parse().ok().filter(|number| *number > 0);
        number.map(Self).ok_or_else(|| Invalid::new("must be the number of a dead letter, as `list` shows it"))
    }
}

/// The columns that [`dead_letter`] reads.
const COLUMNS: &str = "
    dead_letter_id, state, reason, error, source, exchange, routing_key, member_id, command_id, command_type, email_id,
    octet_length(body) as body_bytes, attempts, first_at, last_at, edited_at, claimed_by, claimed_at, claimed_until,
    result, successor_id";

fn dead_letter(row: &Row) -> Result<DeadLetter, StoreError> {
    let claimed = row.get::<_, Option<String>>("claimed_by").zip(row.get("claimed_at")).zip(row.get("claimed_until"));
    Ok(DeadLetter {
        dead_letter_id: DeadLetterId(row.get("dead_letter_id")),
        state: known(row, "state", DeadLetterState::parse, "dead_letter.state")?,
        reason: known(row, "reason", Reason::parse, "dead_letter.reason")?,
        error: row.get("error"),
        source: row.get("source"),
        exchange: row.get("exchange"),
        routing_key: row.get("routing_key"),
        member_id: perhaps(row, "member_id", |text| MemberId::parse(text).ok(), "dead_letter.member_id")?,
        command_id: row.get::<_, Option<Uuid>>("command_id").map(CommandId::from),
        command_type: perhaps(row, "command_type", CommandType::parse, "dead_letter.command_type")?,
        email_id: row.get("email_id"),
        body_bytes: row.get("body_bytes"),
        attempts: row.get("attempts"),
        first_at: row.get("first_at"),
        last_at: row.get("last_at"),
        edited_at: row.get("edited_at"),
        claim: claimed.map(|((by, since), until)| Claim { by, since, until }),
        result: perhaps(row, "result", ReplayResult::parse, "dead_letter.result")?,
        successor_id: row.get::<_, Option<i64>>("successor_id").map(DeadLetterId),
    })
}

/// The value of a column that holds one of a set.
fn known<T>(row: &Row, name: &str, parse: impl Fn(&str) -> Option<T>, column: &'static str) -> Result<T, StoreError> {
    perhaps(row, name, parse, column)?.ok_or(StoreError::UnexpectedValue { column })
}

/// As [`known`], of a column that may be empty.
fn perhaps<T>(
    row: &Row,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
    column: &'static str,
) -> Result<Option<T>, StoreError> {
    let text: Option<&str> = row.get(name);
    text.map(|text| parse(text).ok_or(StoreError::UnexpectedValue { column })).transpose()
}

/// The dead letter that a row of numbers names.
pub(crate) fn dead_letter_id(row: &Row) -> DeadLetterId {
    DeadLetterId(row.get("dead_letter_id"))
}

fn numbers(ids: &[DeadLetterId]) -> Vec<i64> {
    ids.iter().map(|id| id.0).collect()
}

fn email_of(row: &Row) -> Option<EmailId> {
    row.get::<_, Option<Uuid>>("email_id").map(EmailId::from)
}
