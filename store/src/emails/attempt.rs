//! Emails: who may send one now, and what became of it.
//!
//! An email is claimed before it is sent and settled afterwards, each by one statement that checks the state it found.
//! A claim carries a token of its own, so that a mailer that was given up for dead cannot overwrite what its successor
//! wrote. An address leaves the database only in a [`ClaimedEmail`], and is never shown.

use std::fmt;
use std::time::Duration;

use loyalty_common::string_enum;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::claim::ClaimToken;
use super::content::EmailContent;
use crate::dead_letters::{self, NewDeadLetter};
use crate::email_id::EmailId;
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

string_enum! {
    /// Where an email stands.
    pub enum EmailState {
        /// The member gave no address, or erased it or left before it was sent: there is nothing to send.
        NoAddress = "no_address",
        /// The day whose points it tells of was over before it was sent.
        Outdated = "outdated",
        /// Nobody has tried it yet.
        Queued = "queued",
        /// A mailer is at it.
        Sending = "sending",
        /// It failed in passing and is due again later.
        Retrying = "retrying",
        /// The mail server has taken it.
        Sent = "sent",
        /// It was given to the mail server, whose answer was lost. An operator decides.
        Unknown = "unknown",
        /// The mail server will not take it, or did not at any attempt.
        Dead = "dead",
    }
}

/// What a replay of its dead letter makes of an email.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailReplay {
    /// It is queued again.
    Queue,
    /// Nothing: it is on its way, was sent, or has nowhere to go.
    Duplicate,
    /// Nothing before an operator has decided: it may have been sent.
    Undecided,
}

impl EmailState {
    /// The one rule of a replay and of its dry run.
    pub const fn on_replay(self) -> EmailReplay {
        match self {
            Self::Dead => EmailReplay::Queue,
            Self::Queued | Self::Sending | Self::Retrying | Self::Sent | Self::NoAddress | Self::Outdated => {
                EmailReplay::Duplicate
            }
            Self::Unknown => EmailReplay::Undecided,
        }
    }

    /// As the column `state` has it.
    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        Self::parse(row.get("state")).ok_or(StoreError::UnexpectedValue { column: "email.state" })
    }
}

/// An email to send.
#[derive(Clone, Debug)]
pub struct ClaimedEmail {
    pub attempt: Attempt,
    /// Where it goes: the member's address of this moment.
    pub recipient: Recipient,
    /// How it addresses the member, who may have given no name.
    pub name: Option<String>,
    pub member_id: String,
    pub content: EmailContent,
}

/// One attempt at an email. What it finds out is only written while no later attempt has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub email_id: EmailId,
    /// 1 for the first.
    pub number: i32,
    pub claim: ClaimToken,
    /// Which attempt it is since the email was queued, or queued again by an operator: which retry delay is next.
    pub step: i32,
}

/// Where an email goes, as the row has it: an older release may have let an address through that this one would not.
/// `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(pub(super) String);

impl Recipient {
    /// Wraps an address.
    pub fn new(address: impl Into<String>) -> Self {
        Self(address.into())
    }

    /// The address itself. Keep it out of logs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&loyalty_common::email_address::mask(&self.0))
    }
}

/// An email that stands in the wanted state already was put there by this very attempt, whose answer was lost. One
/// whose message the broker gave up while it was being sent is dead; if it went, or may have gone, a replay must not
/// send it. The number is asked for beside the token, as a mailer of a release that knows no tokens leaves the one
/// before.
const SETTLE: &str = "
    update email set state = $3, reply = $4, due_at = now() + make_interval(secs => $5), updated_at = now()
    where partition = $7 and email_id = $1 and attempts = $2 and claim_token = $6
      and (state in ('sending', 'unknown', $3) or state = 'dead' and $3 in ('sent', 'unknown'))";

/// The mail server has taken it. Told even if the attempt was given up meanwhile, as long as nobody began another:
/// what is known is better than what was feared. False: somebody did.
pub async fn sent(pool: &Pool, attempt: Attempt, reply: &str) -> Result<bool, StoreError> {
    let client = pool.get().await?;
    settle(&client, attempt, EmailState::Sent, reply, None).await
}

/// It failed in passing and is due again after `wait`.
pub async fn retry_after(pool: &Pool, attempt: Attempt, wait: Duration, reply: &str) -> Result<bool, StoreError> {
    let client = pool.get().await?;
    settle(&client, attempt, EmailState::Retrying, reply, Some(wait)).await
}

/// Nobody knows whether the mail server has it.
pub async fn unknown(pool: &Pool, attempt: Attempt, reply: &str) -> Result<bool, StoreError> {
    let client = pool.get().await?;
    settle(&client, attempt, EmailState::Unknown, reply, None).await
}

/// It will not be sent: the email and its dead letter, in one transaction.
pub async fn dead(pool: &Pool, attempt: Attempt, reply: &str, dead_letter: NewDeadLetter) -> Result<bool, StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let ours = settle(&transaction, attempt, EmailState::Dead, reply, None).await?;
    if ours {
        dead_letters::record(&transaction, &[dead_letter]).await?;
    }
    transaction.commit().await?;
    Ok(ours)
}

async fn settle(
    client: &deadpool_postgres::Client,
    attempt: Attempt,
    state: EmailState,
    reply: &str,
    wait: Option<Duration>,
) -> Result<bool, StoreError> {
    let statement = client.prepare_cached(SETTLE).await?;
    let (id, wait_seconds) = (attempt.email_id.uuid(), wait.map(|wait| wait.as_secs_f64()));
    let token = attempt.claim.uuid();
    let (partition, state) = (attempt.email_id.partition(), state.as_str());
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&id, &attempt.number, &state, &reply, &wait_seconds, &token, &partition];
    Ok(client.execute(&statement, &parameters).await? > 0)
}
