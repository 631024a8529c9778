//! Queueing emails again: for those that failed, at an operator's word.

use std::collections::HashMap;
use std::hash::BuildHasher;

use deadpool_postgres::Client;
use loyalty_common::topology;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::approval::OperatorApproval;
use crate::dead_letters::{Action, Concluded, DeadLetterId, Replay, conclude};
use crate::email_id::EmailId;
use crate::emails::{EmailReplay, EmailState, request};
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

/// Which emails an operator means, and so which states allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// Those that were not sent: try them now, and again on the whole retry schedule.
    Retry,
    /// Those whose delivery is unknown: send them again, though some may have arrived.
    ResendUnknown,
}

impl Requeue {
    /// Whether an email in this state is one of them. A queued one is let through, for when its request was lost with
    /// its queue: a second request finds the email sent.
    pub const fn fits(self, state: EmailState) -> bool {
        match state {
            EmailState::Dead | EmailState::Retrying | EmailState::Queued => matches!(self, Self::Retry),
            EmailState::Unknown => matches!(self, Self::ResendUnknown),
            EmailState::NoAddress | EmailState::Outdated | EmailState::Sending | EmailState::Sent => false,
        }
    }

    const fn action(self) -> Action {
        match self {
            Self::Retry => Action::Retried,
            Self::ResendUnknown => Action::Resent,
        }
    }
}

/// What became of the emails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requeued {
    pub queued: Vec<EmailId>,
    /// They are not, because of where they stand.
    pub left: Vec<(EmailId, EmailState)>,
    /// There are no such emails.
    pub missing: Vec<EmailId>,
}

/// Queues emails again and settles their open dead letters, in one transaction. `seen` is where they stood when the
/// operator looked: one that has moved since, by another operator's hand or its own, is left.
pub async fn requeue(
    pool: &Pool,
    ids: &[EmailId],
    seen: &HashMap<EmailId, EmailState, impl BuildHasher>,
    what: Requeue,
    permission: &OperatorApproval,
) -> Result<Requeued, StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let states = locked(&transaction, ids).await?;
    let mut requeued = Requeued::default();
    for id in ids {
        match states.get(id) {
            Some(state) if what.fits(*state) && seen.get(id) == Some(state) => requeued.queued.push(*id),
            Some(state) => requeued.left.push((*id, *state)),
            None => requeued.missing.push(*id),
        }
    }
    queue(&transaction, &requeued.queued).await?;
    let emails = uuids(&requeued.queued);
    let (actor, note, action) = (permission.actor(), permission.note(), what.action().as_str());
    let partitions = partitions(&requeued.queued);
    transaction.execute(SETTLE_DEAD_LETTERS, &[&emails, &actor, &action, &note, &partitions]).await?;
    transaction.commit().await?;
    Ok(requeued)
}

/// Queues the emails of dead letters that a replay holds, and concludes the dead letters, in one transaction. An email
/// that is on its way or settled is left as it is: a repeat. One whose delivery is unknown, or of no row, is not for a
/// replay to decide: its dead letter is not in the answer and stays as it is.
pub async fn requeue_dead_letters(
    pool: &Pool,
    replay: &Replay,
    dead_letters: &[(DeadLetterId, EmailId)],
) -> Result<Vec<(DeadLetterId, Concluded)>, StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let ids: Vec<EmailId> = dead_letters.iter().map(|(_, email_id)| *email_id).collect();
    let states = locked(&transaction, &ids).await?;
    let (mut queued, mut concluded) = (Vec::new(), Vec::new());
    for (dead_letter_id, email_id) in dead_letters {
        match states.get(email_id).map(|state| state.on_replay()) {
            Some(EmailReplay::Queue) if !queued.contains(email_id) => {
                queued.push(*email_id);
                concluded.push((*dead_letter_id, Concluded::Queued));
            }
            Some(EmailReplay::Queue | EmailReplay::Duplicate) => {
                concluded.push((*dead_letter_id, Concluded::Duplicate));
            }
            Some(EmailReplay::Undecided) | None => {}
        }
    }
    queue(&transaction, &queued).await?;
    conclude(&transaction, replay, &concluded).await?;
    transaction.commit().await?;
    Ok(concluded)
}

/// Where emails stand, of those that exist; those that were not sent and have nowhere to go any more as such. Reads
/// only.
pub async fn states(pool: &Pool, ids: &[EmailId]) -> Result<HashMap<EmailId, EmailState>, StoreError> {
    states_of(&*pool.get().await?, ids).await
}

async fn states_of(client: &Client, ids: &[EmailId]) -> Result<HashMap<EmailId, EmailState>, StoreError> {
    let rows = client.query(STATES, &[&uuids(ids), &partitions(ids)]).await?;
    rows.iter().map(standing).collect()
}

const STATES: &str = "
    select e.email_id,
           case when m.email is null and e.state in ('queued', 'retrying', 'unknown', 'dead') then 'no_address'
                else e.state end as state
    from email as e
    left join member as m on m.partition = e.partition and m.member_id = e.member_id and m.epoch = e.epoch
    where e.partition = any($2) and e.email_id = any($1)";

/// Nothing is left to decide about them.
const GOES_TO_NOBODY: &str = "
    update email as e set state = 'no_address', due_at = null, updated_at = now()
    where e.partition = any($2) and e.email_id = any($1) and e.state in ('queued', 'retrying', 'unknown', 'dead')
      and not exists (select from member as m where m.partition = e.partition and m.member_id = e.member_id
                                                and m.epoch = e.epoch and m.email is not null)";

async fn locked(client: &Client, ids: &[EmailId]) -> Result<HashMap<EmailId, EmailState>, StoreError> {
    let query = "select from email where partition = any($2) and email_id = any($1)
                 order by partition, email_id for update";
    client.query(query, &[&uuids(ids), &partitions(ids)]).await?;
    client.execute(GOES_TO_NOBODY, &[&uuids(ids), &partitions(ids)]).await?;
    states_of(client, ids).await
}

fn standing(row: &Row) -> Result<(EmailId, EmailState), StoreError> {
    Ok((EmailId::from(row.get::<_, Uuid>("email_id")), EmailState::read(row)?))
}

/// The attempts go on being counted, since a mailer knows its own by the number; the retry schedule starts over.
const QUEUE: &str = "
    update email set state = 'queued', due_at = null, attempts_before = attempts, updated_at = now()
    where partition = any($2) and email_id = any($1)";

const REQUEST: &str = "
    insert into outbox (partition, exchange, routing_key, message_id, type, body, created_at)
    select partition, $3, $4, email_id::text, $5, body, now()
    from unnest($6::smallint[], $1::uuid[], $2::bytea[]) as u (partition, email_id, body)";

/// A line for each email, and for each dead letter that was open for it.
const SETTLE_DEAD_LETTERS: &str = "
    with open as (
        select partition, dead_letter_id, email_id from dead_letter
        where partition = any($5) and email_id = any($1) and state = 'open' order by dead_letter_id for update),
    settled as (
        update dead_letter as d set state = 'replayed', result = 'queued'
        from open where d.partition = open.partition and d.dead_letter_id = open.dead_letter_id)
    insert into operator_event (partition, dead_letter_id, email_id, at, actor, action, note, result)
    select emails.partition, open.dead_letter_id, emails.email_id, now(), $2, $3, $4, 'queued'
    from unnest($5::smallint[], $1::uuid[]) as emails (partition, email_id) left join open using (partition, email_id)";

async fn queue(client: &Client, ids: &[EmailId]) -> Result<(), StoreError> {
    client.execute(QUEUE, &[&uuids(ids), &partitions(ids)]).await?;
    ask_for(client, ids).await
}

/// Leaves a request for each email in the outbox.
pub(crate) async fn ask_for(client: &Client, ids: &[EmailId]) -> Result<(), StoreError> {
    let bodies: Vec<Vec<u8>> = ids.iter().map(|id| request::encode(*id)).collect();
    let emails = uuids(ids);
    let (exchange, key) = (topology::EMAILS, topology::SEND_KEY);
    client.execute(REQUEST, &[&emails, &bodies, &exchange, &key, &request::MESSAGE_TYPE, &partitions(ids)]).await?;
    Ok(())
}

/// Beside [`uuids`], the partition of each.
fn partitions(ids: &[EmailId]) -> Vec<i16> {
    ids.iter().map(|id| id.partition()).collect()
}

fn uuids(ids: &[EmailId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.uuid()).collect()
}
