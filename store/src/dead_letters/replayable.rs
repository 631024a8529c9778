//! What a dead letter offers to be sent again: the operator's body if there is one, else its own.

use loyalty_common::command::BODY_MAX_BYTES;
use loyalty_common::decode::{DecodeError, decode};
use loyalty_common::{Command, MemberId, topology};
use tokio_postgres::Row;

use super::{DeadLetterId, DeadLetterState, email_of, known, numbers};
use crate::dead_letters::Reason;
use crate::email_id::EmailId;
use crate::pool::{Pool, StoreError};

/// A dead letter as a replay or a dry run looks at it.
#[derive(Clone, Debug)]
pub struct Replayable {
    pub dead_letter_id: DeadLetterId,
    /// What an operator has made of it.
    pub state: DeadLetterState,
    /// Why it is a dead letter.
    pub reason: Reason,
    /// Whether an operator has written another body.
    pub edited: bool,
    pub subject: Subject,
    /// The property `type` that it came with.
    pub message_type: Option<String>,
    /// The body that would be sent; none, if it is larger than any command.
    body: Option<Vec<u8>>,
    body_bytes: i32,
}

/// What a dead letter is about, by the queue that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A command, or what should have been one.
    Command,
    /// An email, if the dead letter names one.
    Email(Option<EmailId>),
}

impl Subject {
    pub(super) fn of(row: &Row) -> Self {
        match row.get("source") {
            topology::EMAILS | topology::DEAD_EMAILS => Self::Email(email_of(row)),
            // The partitions, what was dead or unrouted among them, and whatever an older release consumed.
            _ => Self::Command,
        }
    }
}

impl Replayable {
    /// The command that it says, or why it says none.
    pub fn command(&self) -> Result<Command, DecodeError> {
        match &self.body {
            Some(body) => decode(body),
            None => Err(DecodeError::TooLarge { bytes: usize::try_from(self.body_bytes).unwrap_or_default() }),
        }
    }

    /// The member whose order it belongs to.
    pub(super) fn member(&self) -> Option<MemberId> {
        self.command().ok().map(|command| command.member_id)
    }
}

/// The dead letters of these ids that exist, the oldest first, whatever their state.
pub async fn replayable(pool: &Pool, ids: &[DeadLetterId]) -> Result<Vec<Replayable>, StoreError> {
    let query = format!("select {} from dead_letter where dead_letter_id = any($1) order by dead_letter_id", columns());
    let rows = pool.get().await?.query(&query, &[&numbers(ids)]).await?;
    rows.iter().map(read_replayable).collect()
}

/// The columns that [`read_replayable`] reads. A body beyond the contract's bound is left where it is.
pub(super) fn columns() -> String {
    format!(
        "dead_letter_id, state, reason, source, email_id, edited_body is not null as edited, headers ->> 'type' as message_type,
         octet_length(coalesce(edited_body, body)) as replay_bytes,
         case when octet_length(coalesce(edited_body, body)) <= {BODY_MAX_BYTES} then coalesce(edited_body, body) end
             as replay_body"
    )
}

pub(super) fn read_replayable(row: &Row) -> Result<Replayable, StoreError> {
    Ok(Replayable {
        dead_letter_id: DeadLetterId(row.get("dead_letter_id")),
        state: known(row, "state", DeadLetterState::parse, "dead_letter.state")?,
        reason: known(row, "reason", Reason::parse, "dead_letter.reason")?,
        edited: row.get("edited"),
        subject: Subject::of(row),
        message_type: row.get("message_type"),
        body: row.get("replay_body"),
        body_bytes: row.get("replay_bytes"),
    })
}
