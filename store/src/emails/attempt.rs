//! Emails: who may send one now, and what became of it.
//!
//! An email is claimed before it is sent and settled afterwards, each by one statement that checks the state it found.
//! A claim carries a token of its own, so that a mailer that was given up for dead cannot overwrite what its successor
//! wrote. An address leaves the database only in a [`ClaimedEmail`], and is never shown.

use std::fmt;
use std::time::Duration;

use jiff::civil::Date;
use loyalty_common::{MemberId, Partition, string_enum};
use tokio_postgres::types::ToSql;
use uuid::{Builder, Uuid};

use super::claim::ClaimToken;
use super::content::EmailContent;
use crate::dead_letters::{self, NewDeadLetter};
use crate::partition::grouped;
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

string_enum! {
    /// Where an email stands.
    pub enum EmailState {
        /// The member gave no address, or erased it or left before it was sent: there is nothing to send.
        NoAddress = "no_address",
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

/// An email to send.
#[derive(Clone, Debug)]
pub struct ClaimedEmail {
    pub attempt: Attempt,
    /// Where it goes: the member's address of this moment.
    pub recipient: Recipient,
    /// How it addresses the member, who may have given no name.
    pub name: Option<String>,
    pub member_id: String,
    /// What it tells.
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

/// The id of an email. Derived from what it tells of, so that the same reward, or the same day of points, always has the
/// same email, and a resend is recognisable.
///
/// Its first four bits are the member's partition: a request, a dead letter or an operator that names an email says
/// with the id where its row is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmailId(pub(super) Uuid);

/// The namespace of the hashes that ids of emails are made of: a random UUID, fixed for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x5f0c_9ab4_6f0e_4b7c_9d6a_3c1e_88f2_b1d7);

impl EmailId {
    /// Of the one email of a reward.
    pub fn of_reward(member_id: &MemberId, epoch: i32, number: i64) -> Self {
        Self::derived(member_id, epoch, number)
    }

    /// Of the one warning of the points of a day. A day is never spelled like a number.
    pub fn of_warning(member_id: &MemberId, epoch: i32, expires_on: Date) -> Self {
        Self::derived(member_id, epoch, expires_on)
    }

    fn derived(member_id: &MemberId, epoch: i32, which: impl fmt::Display) -> Self {
        let mut bytes = Uuid::new_v5(&NAMESPACE, format!("{member_id}/{epoch}/{which}").as_bytes()).into_bytes();
        bytes[0] = Partition::of(member_id).number() << 4 | bytes[0] & 0x0f;
        Self(Builder::from_custom_bytes(bytes).into_uuid())
    }

    pub(crate) fn partition(self) -> i16 {
        i16::from(self.0.as_bytes()[0] >> 4)
    }

    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for EmailId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for EmailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
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

const KILL: &str = "
    update email set state = 'dead', reply = $2, due_at = null, updated_at = now()
    where partition = $3 and email_id = any($1) and state in ('queued', 'sending', 'retrying')";

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

/// Inside the caller's transaction: these emails will not be sent any more. One that is settled stays as it is.
pub(crate) async fn kill(
    client: &deadpool_postgres::Client,
    emails: &[EmailId],
    reply: &str,
) -> Result<(), StoreError> {
    for (partition, emails) in grouped(emails.iter().copied(), |id| id.partition()) {
        let ids: Vec<Uuid> = emails.into_iter().map(EmailId::uuid).collect();
        client.execute(KILL, &[&ids, &reply, &partition]).await?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_email_names_its_members_partition_and_is_always_the_same() {
        let id = |member: &str, number| EmailId::of_reward(&member.parse().expect("a member id"), 1, number);
        for member in ["ann", "bob", "123", "member-7"] {
            let partition = crate::partition::partition(&member.parse().expect("a member id"));
            assert_eq!(id(member, 1).partition(), partition, "{member}");
            assert_eq!(id(member, 1).to_string().chars().next(), char::from_digit(partition.unsigned_abs().into(), 16));
        }
        assert_ne!(id("ann", 1), id("ann", 2));
        assert_eq!(
            id("ann", 1).to_string(),
            "3d2b1a79-9530-8ad5-87b2-9fdb9030ce3e",
            "emails that were sent are known by it"
        );
        let of_day = |day: &str| {
            EmailId::of_warning(&"ann".parse().expect("a member id"), 1, day.parse().expect("a day")).to_string()
        };
        assert_eq!(of_day("2026-12-31"), "3f86f242-9fbe-8620-b5fd-ad07b593e482");
        assert_ne!(of_day("2026-12-31"), of_day("2026-12-30"));
    }
}
