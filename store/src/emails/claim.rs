//! Claiming an email for one attempt.
//!
//! A claim is known before it is committed, so that a mailer whose answer to the commit is lost can take it back. Else
//! the email would stand as one that somebody is sending, until its lease is over and nobody knows whether it went.

use std::time::Duration;

use futures_util::join;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Attempt, ClaimedEmail, EmailContent, EmailId, EmailState, Recipient};
use crate::emails::ask_for;
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

#[derive(Debug)]
pub enum Claim {
    /// The email is the caller's to send, until its lease is over.
    Ours(ClaimedEmail),
    /// Not now: another mailer is at it, or the next attempt is not due. Ask again after this long.
    Later(Duration),
    /// Its mailer died in the middle of sending. It is recorded as unknown.
    Abandoned,
    /// Nothing is left to do.
    Settled(EmailState),
    /// There is no such email.
    Missing,
}

/// Why an email could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It is not claimed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It may be: the claim or its commit has no answer. [`take_back`] tells, and must be called before it is claimed
    /// again.
    #[error("the outcome of an email's claim is unknown")]
    InDoubt {
        claim: InDoubt,
        /// What became of the answer.
        source: StoreError,
    },
}

/// A claim of which its mailer does not know whether it stands.
#[derive(Clone, Copy, Debug)]
pub struct InDoubt {
    email_id: EmailId,
    token: ClaimToken,
}

/// What a claim is known by: drawn by the mailer before it claims, and written in the email's row with the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimToken(Uuid);

impl ClaimToken {
    /// One that nobody has drawn before.
    pub fn draw() -> Self {
        Self(Uuid::now_v7())
    }

    pub(super) const fn uuid(self) -> Uuid {
        self.0
    }
}

/// How much too early a retry may come and still count as due: the broker's timer and the database's clock are not
/// the same, and an email that comes a moment early must not wait another round.
const EARLY_SECONDS: f64 = 1.0;

/// An email whose reward is missing tells nothing, and stays where it is. One that tells of points until a day tells
/// nothing any more once that is over, in the zone in which they expire.
const CLAIM: &str = "
    with told as (
        select e.kind, e.number, e.expires_on, r.title, coalesce(r.points, e.points) as points
        from email as e left join reward as r using (partition, member_id, epoch, number)
        where e.partition = $6 and e.email_id = $1 and (e.kind <> 'reward' or r.number is not null))
    update email as e
    set state = 'sending', attempts = e.attempts + 1, due_at = now() + make_interval(secs => $2), updated_at = now(),
        claim_token = $5
    from told, member as m
    where e.partition = $6 and e.email_id = $1
      and m.partition = $6 and m.member_id = e.member_id and m.epoch = e.epoch and m.email is not null
      and (e.kind <> 'expiring'
           or exists (select from lot as l where l.partition = $6 and l.member_id = e.member_id and l.epoch = e.epoch
                                             and l.expires_on = e.expires_on and l.expires_at > now()))
      and (e.state = 'queued'
           or e.state = 'retrying' and e.due_at <= now() + make_interval(secs => $3)
           or $4 and e.state = 'sending' and e.due_at <= now())
    returning e.email_id, e.attempts, e.attempts - e.attempts_before as step, m.email as recipient, m.name, e.member_id,
              told.*";

const GIVE_UP: &str = "
    update email set state = 'unknown', due_at = null, updated_at = now(),
                     reply = 'the mailer ended while it was sending'
    where partition = $2 and email_id = $1 and state = 'sending' and due_at <= now()";

/// The address of the membership that it is about, which may have been changed or erased since.
const GOES_TO_NOBODY: &str = "
    update email as e set state = 'no_address', due_at = null, updated_at = now()
    where e.partition = $2 and e.email_id = $1 and e.state in ('queued', 'retrying')
      and not exists (select from member as m where m.partition = $2 and m.member_id = e.member_id
                                                and m.epoch = e.epoch and m.email is not null)";

/// Its day is over.
const COMES_TOO_LATE: &str = "
    update email as e set state = 'outdated', due_at = null, updated_at = now()
    where e.partition = $2 and e.email_id = $1 and e.state in ('queued', 'retrying') and e.kind = 'expiring'
      and not exists (select from lot as l where l.partition = $2 and l.member_id = e.member_id and l.epoch = e.epoch
                                             and l.expires_on = e.expires_on and l.expires_at > now())";

const LOOK: &str = "
    select state, extract(epoch from due_at - now())::float8 as due_seconds from email
    where partition = $2 and email_id = $1";

const WAIT_FOR_ITS_END: &str = "select state from email where partition = $2 and email_id = $1 for update";

/// Where it stood before: nobody has tried it yet, or it is due again. Also one that was given up meanwhile, because
/// its lease was over before the database could be asked: its delivery is not unknown, since who claimed it has not
/// sent it.
const TAKE_BACK: &str = "
    update email set attempts = attempts - 1, updated_at = now(), claim_token = null,
                     reply = case state when 'sending' then reply end,
                     state = case when attempts - attempts_before = 1 then 'queued' else 'retrying' end,
                     due_at = case when attempts - attempts_before = 1 then null else now() end
    where partition = $3 and email_id = $1 and state in ('sending', 'unknown') and claim_token = $2";

/// Claims an email for one attempt that ends, one way or the other, before `lease` is over. An email whose mailer did
/// not come back in its time is claimed again if `resend_abandoned`, and recorded as unknown if not.
pub async fn claim(
    pool: &Pool,
    email_id: EmailId,
    lease: Duration,
    resend_abandoned: bool,
) -> Result<Claim, ClaimError> {
    let transaction = Transaction::about_to_begin(pool).await?;
    let statement = transaction.prepare_cached(CLAIM).await.map_err(StoreError::Query)?;
    let claim = InDoubt { email_id, token: ClaimToken::draw() };
    let in_doubt = |source| ClaimError::InDoubt { claim, source };
    let (id, lease_seconds, token) = (email_id.uuid(), lease.as_secs_f64(), claim.token.uuid());
    let partition = email_id.partition();
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&id, &lease_seconds, &EARLY_SECONDS, &resend_abandoned, &token, &partition];
    // In one flight, and both answers are awaited: if the server refused only to begin, it may have claimed all the
    // same.
    let flight = join!(transaction.batch_execute("begin"), transaction.query_opt(&statement, &parameters));
    let claimed = flight.0.and(flight.1).map_err(|error| in_doubt(error.into()))?;
    let Some(row) = claimed else {
        let found = why_not(&transaction, email_id).await?;
        transaction.commit().await?;
        return Ok(found);
    };
    let email = email(&row, claim.token)?;
    transaction.commit().await.map_err(in_doubt)?;
    Ok(Claim::Ours(email))
}

/// Makes sure that a claim in doubt does not stand: afterwards the email is where it was, or somebody else's. Harmless
/// when repeated.
pub async fn take_back(pool: &Pool, claim: InDoubt) -> Result<(), StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let (id, partition) = (claim.email_id.uuid(), claim.email_id.partition());
    // The server may still be at the commit, whose outcome no statement sees that began before it.
    let stood = transaction.query_opt(WAIT_FOR_ITS_END, &[&id, &partition]).await?;
    let taken_back = transaction.execute(TAKE_BACK, &[&id, &claim.token.uuid(), &partition]).await? > 0;
    if taken_back && stood.is_some_and(|row| row.get::<_, &str>("state") == EmailState::Unknown.as_str()) {
        // Whoever gave it up has let its request go.
        ask_for(&transaction, &[claim.email_id]).await?;
    }
    transaction.commit().await
}

/// Between the claim and this look another mailer may have moved the email on: whatever stands here now is true, and
/// at worst the caller asks again.
async fn why_not(client: &deadpool_postgres::Client, email_id: EmailId) -> Result<Claim, StoreError> {
    let (id, partition) = (email_id.uuid(), email_id.partition());
    if client.execute(GIVE_UP, &[&id, &partition]).await? > 0 {
        return Ok(Claim::Abandoned);
    }
    client.execute(GOES_TO_NOBODY, &[&id, &partition]).await?;
    client.execute(COMES_TOO_LATE, &[&id, &partition]).await?;
    let Some(row) = client.query_opt(LOOK, &[&id, &partition]).await? else {
        return Ok(Claim::Missing);
    };
    Ok(match EmailState::read(&row)? {
        EmailState::Queued | EmailState::Sending | EmailState::Retrying => {
            Claim::Later(seconds(row.get::<_, Option<f64>>("due_seconds").unwrap_or_default()))
        }
        state @ (EmailState::NoAddress
        | EmailState::Outdated
        | EmailState::Sent
        | EmailState::Unknown
        | EmailState::Dead) => Claim::Settled(state),
    })
}

/// `due_at` is in the past when a mailer's lease ran out just now.
fn seconds(due_seconds: f64) -> Duration {
    Duration::try_from_secs_f64(due_seconds.max(0.0)).unwrap_or_default()
}

fn email(row: &Row, claim: ClaimToken) -> Result<ClaimedEmail, StoreError> {
    let email_id = EmailId::from(row.get::<_, Uuid>("email_id"));
    Ok(ClaimedEmail {
        attempt: Attempt { email_id, number: row.get("attempts"), claim, step: row.get("step") },
        recipient: Recipient(row.get("recipient")),
        name: row.get("name"),
        member_id: row.get("member_id"),
        content: EmailContent::read(row)?,
    })
}
