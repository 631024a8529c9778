//! The mails of rewards: who may send one now, and what became of it.
//!
//! A mail is claimed before it is sent and settled afterwards, each by one statement that checks the state it found.
//! A claim carries the number of its attempt, so that a mailer that was given up for dead cannot overwrite what its
//! successor wrote. An address leaves the database only in a [`Mail`], and is never shown.

use std::fmt;
use std::time::Duration;

use loyalty_common::closed_set;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::dead_letter::{self, NewDeadLetter};
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

pub mod request;

closed_set! {
    /// Where a mail stands.
    pub enum EmailState {
        /// The member gave no address: there is nothing to send.
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
        /// The mail server will not take it, or did not on any rung of the ladder.
        Dead = "dead",
    }
}

/// What a claim found.
#[derive(Debug)]
pub enum Claim {
    /// The mail is the caller's to send, until its lease is over.
    Ours(Mail),
    /// Not now: another mailer is at it, or the next attempt is not due. Ask again after this long.
    Later(Duration),
    /// Its mailer died in the middle of sending. It is recorded as unknown.
    Abandoned,
    /// Nothing is left to do.
    Settled(EmailState),
    /// There is no such mail.
    Missing,
}

/// A mail to send.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Which one, and which attempt at it.
    pub attempt: Attempt,
    /// Where it goes.
    pub recipient: Recipient,
    /// How it addresses the member, who may have given no name.
    pub name: Option<String>,
    /// Whose reward it is about.
    pub member_id: String,
    /// What the member gets.
    pub title: String,
    /// The how-manyth reward of the membership.
    pub number: i64,
    /// The lifetime sum that earned it.
    pub points: i64,
}

/// One attempt at a mail. What it finds out is only written while no later attempt has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The mail.
    pub email_id: EmailId,
    /// 1 for the first.
    pub number: i32,
    /// Which attempt it is since the mail was queued, or queued anew by an operator: where it stands on the ladder.
    pub step: i32,
}

/// The id of a mail. Derived from its reward, so that the same reward always has the same mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmailId(Uuid);

impl EmailId {
    /// The UUID.
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

/// Where a mail goes, as the row has it: an older release may have let an address through that this one would not.
/// `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(String);

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
        f.write_str(&loyalty_common::text::mask(&self.0))
    }
}

/// How much too early a retry may come and still count as due: the broker's timer and the database's clock are not
/// the same, and a mail that comes a moment early must not wait another round.
const EARLY_SECONDS: f64 = 1.0;

const CLAIM: &str = "
    update email as e
    set state = 'sending', attempts = e.attempts + 1, due_at = now() + make_interval(secs => $2), updated_at = now()
    from reward as r
    where e.email_id = $1
      and r.member_id = e.member_id and r.epoch = e.epoch and r.number = e.number
      and (e.state = 'queued'
           or e.state = 'retrying' and e.due_at <= now() + make_interval(secs => $3)
           or $4 and e.state = 'sending' and e.due_at <= now())
    returning e.email_id, e.attempts, e.attempts - e.attempts_before as step, e.recipient, e.name, e.member_id, e.number, r.title, r.points";

const GIVE_UP: &str = "
    update email set state = 'unknown', due_at = null, updated_at = now(),
                     reply = 'the mailer ended while it was sending'
    where email_id = $1 and state = 'sending' and due_at <= now()";

const LOOK: &str = "
    select state, extract(epoch from due_at - now())::float8 as due_seconds from email where email_id = $1";

/// A mail that stands in the wanted state already was put there by this very attempt, whose answer was lost. One whose
/// message the broker gave up while it was being sent is dead; if it went, or may have gone, a replay must not send it.
const SETTLE: &str = "
    update email set state = $3, reply = $4, due_at = now() + make_interval(secs => $5), updated_at = now()
    where email_id = $1 and attempts = $2
      and (state in ('sending', 'unknown', $3) or state = 'dead' and $3 in ('sent', 'unknown'))";

const KILL: &str = "
    update email set state = 'dead', reply = $2, due_at = null, updated_at = now()
    where email_id = any($1) and state in ('queued', 'sending', 'retrying')";

/// Claims a mail for one attempt that ends, one way or the other, before `lease` is over. A mail whose mailer did not
/// come back in its time is claimed again if `resend_abandoned`, and recorded as unknown if not.
pub async fn claim(
    pool: &Pool,
    email_id: EmailId,
    lease: Duration,
    resend_abandoned: bool,
) -> Result<Claim, StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(CLAIM).await?;
    let (id, lease_seconds) = (email_id.uuid(), lease.as_secs_f64());
    let claimed = client.query_opt(&statement, &[&id, &lease_seconds, &EARLY_SECONDS, &resend_abandoned]).await?;
    match claimed {
        Some(row) => Ok(Claim::Ours(mail(&row))),
        None => why_not(&client, email_id).await,
    }
}

/// Between the claim and this look another mailer may have moved the mail on: whatever stands here now is true, and
/// at worst the caller asks again.
async fn why_not(client: &deadpool_postgres::Client, email_id: EmailId) -> Result<Claim, StoreError> {
    let id = email_id.uuid();
    if client.execute(GIVE_UP, &[&id]).await? > 0 {
        return Ok(Claim::Abandoned);
    }
    let Some(row) = client.query_opt(LOOK, &[&id]).await? else {
        return Ok(Claim::Missing);
    };
    let state = EmailState::parse(row.get("state")).ok_or(StoreError::Foreign { column: "email.state" })?;
    Ok(match state {
        EmailState::Queued | EmailState::Sending | EmailState::Retrying => {
            Claim::Later(seconds(row.get::<_, Option<f64>>("due_seconds").unwrap_or_default()))
        }
        EmailState::NoAddress | EmailState::Sent | EmailState::Unknown | EmailState::Dead => Claim::Settled(state),
    })
}

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

/// It will not be sent: the mail and its dead letter, in one transaction.
pub async fn dead(pool: &Pool, attempt: Attempt, reply: &str, letter: NewDeadLetter) -> Result<bool, StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let ours = settle(&transaction, attempt, EmailState::Dead, reply, None).await?;
    if ours {
        dead_letter::record(&transaction, &[letter]).await?;
    }
    transaction.commit().await?;
    Ok(ours)
}

/// Inside the caller's transaction: these mails will not be sent any more. One that is settled stays as it is.
pub(crate) async fn kill(
    client: &deadpool_postgres::Client,
    emails: &[EmailId],
    reply: &str,
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = emails.iter().map(|email_id| email_id.uuid()).collect();
    client.execute(KILL, &[&ids, &reply]).await?;
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
    let rows = client.execute(&statement, &[&id, &attempt.number, &state.as_str(), &reply, &wait_seconds]).await?;
    Ok(rows > 0)
}

/// `due_at` is in the past when a mailer's lease ran out just now.
fn seconds(due_seconds: f64) -> Duration {
    Duration::try_from_secs_f64(due_seconds.max(0.0)).unwrap_or_default()
}

fn mail(row: &Row) -> Mail {
    Mail {
        attempt: Attempt { email_id: EmailId(row.get("email_id")), number: row.get("attempts"), step: row.get("step") },
        recipient: Recipient(row.get("recipient")),
        name: row.get("name"),
        member_id: row.get("member_id"),
        title: row.get("title"),
        number: row.get("number"),
        points: row.get("points"),
    }
}
