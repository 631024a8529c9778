//! Claiming a mail for one attempt.
//!
//! A claim is known before it is committed, so that a mailer whose answer to the commit is lost can take it back. Else
//! the mail would stand as one that somebody is sending, until its lease is over and nobody knows whether it went.

use std::time::Duration;

use futures_util::try_join;
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::{Attempt, EmailId, EmailState, Mail, Recipient};
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

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

/// Why a mail could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It is not claimed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It may be: the commit has no answer. [`take_back`] tells, and must be called before it is claimed again.
    #[error("nobody knows whether a mail is claimed")]
    InDoubt {
        /// The claim.
        claim: InDoubt,
        /// What became of the answer.
        source: StoreError,
    },
}

/// A claim of which its mailer does not know whether it stands.
#[derive(Clone, Debug)]
pub struct InDoubt {
    email_id: EmailId,
    /// The transaction's number, which a row shows of who wrote it. After a crash the server may give it again, if
    /// nothing of it was on disk; so it says whose a claim is only together with the two below.
    transaction: String,
    /// When it began.
    at: Timestamp,
    /// Which attempt it claimed.
    number: i32,
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
    returning e.email_id, e.attempts, e.attempts - e.attempts_before as step, e.recipient, e.name, e.member_id, e.number, r.title, r.points,
              e.updated_at, pg_current_xact_id()::xid::text as transaction";

const GIVE_UP: &str = "
    update email set state = 'unknown', due_at = null, updated_at = now(),
                     reply = 'the mailer ended while it was sending'
    where email_id = $1 and state = 'sending' and due_at <= now()";

const LOOK: &str = "
    select state, extract(epoch from due_at - now())::float8 as due_seconds from email where email_id = $1";

const WAIT_FOR_ITS_END: &str = "select from email where email_id = $1 for update";

/// Where it stood before: nobody has tried it yet, or it is due again. One that was given up meanwhile, because its lease
/// was over before the database could be asked, stays of unknown fate.
const TAKE_BACK: &str = "
    update email set attempts = attempts - 1, updated_at = now(),
                     state = case when attempts - attempts_before = 1 then 'queued' else 'retrying' end,
                     due_at = case when attempts - attempts_before = 1 then null else now() end
    where email_id = $1 and state = 'sending' and attempts = $3 and updated_at = $4 and xmin::text = $2";

/// Claims a mail for one attempt that ends, one way or the other, before `lease` is over. A mail whose mailer did not
/// come back in its time is claimed again if `resend_abandoned`, and recorded as unknown if not.
pub async fn claim(
    pool: &Pool,
    email_id: EmailId,
    lease: Duration,
    resend_abandoned: bool,
) -> Result<Claim, ClaimError> {
    let transaction = Transaction::about_to_begin(pool).await?;
    let Some(row) = try_to_claim(&transaction, email_id, lease, resend_abandoned).await? else {
        let found = why_not(&transaction, email_id).await?;
        transaction.commit().await?;
        return Ok(found);
    };
    let (at, number) = (row.get("updated_at"), row.get("attempts"));
    let claim = InDoubt { email_id, transaction: row.get("transaction"), at, number };
    match transaction.commit().await {
        Ok(()) => Ok(Claim::Ours(mail(&row))),
        Err(source) => Err(ClaimError::InDoubt { claim, source }),
    }
}

/// Makes sure that a claim in doubt does not stand: afterwards the mail is where it was, or somebody else's. Harmless
/// when repeated.
pub async fn take_back(pool: &Pool, claim: &InDoubt) -> Result<(), StoreError> {
    let client = pool.get().await?;
    let id = claim.email_id.uuid();
    // The server may still be at the commit, whose outcome no statement sees that began before it.
    client.execute(WAIT_FOR_ITS_END, &[&id]).await?;
    client.execute(TAKE_BACK, &[&id, &claim.transaction, &claim.number, &claim.at]).await?;
    Ok(())
}

async fn try_to_claim(
    transaction: &Transaction,
    email_id: EmailId,
    lease: Duration,
    resend_abandoned: bool,
) -> Result<Option<Row>, StoreError> {
    let statement = transaction.prepare_cached(CLAIM).await?;
    let (id, lease_seconds) = (email_id.uuid(), lease.as_secs_f64());
    let parameters: [&(dyn ToSql + Sync); 4] = [&id, &lease_seconds, &EARLY_SECONDS, &resend_abandoned];
    // In one flight.
    let ((), claimed) = try_join!(transaction.batch_execute("begin"), transaction.query_opt(&statement, &parameters))?;
    Ok(claimed)
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
