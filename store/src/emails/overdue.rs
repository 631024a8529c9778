//! Emails whose request was lost with its queue or its broker. The row says that an attempt is due, and nobody asks.
//!
//! Only the request is repeated; where the email stands is for the mailer to change. One that was not lost but waits in
//! a long queue is asked for twice, which does nothing: the second request finds the email settled.

use std::time::Duration;

use loyalty_common::partition::PARTITIONS;
use uuid::Uuid;

use super::requeue::ask_for;
use crate::emails::EmailId;
use crate::partition;
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

/// Those that nobody has tried since they were queued, those that should have been retried, and those whose mailer did
/// not come back, so that they become unknown. The change of `updated_at` keeps the next sweep, and that of another
/// worker, from asking for the same ones.
///
/// None while a message of the outbox has waited for as long: an email's request is written with its row, so that no
/// overdue email's request can be among younger ones. Asked once and not for each email, as both tables may be long.
const OVERDUE: &str = "
    with overdue as (
        select email_id from email as e
        where e.partition = $3 and e.state in ('queued', 'retrying', 'sending')
          and greatest(e.due_at, e.updated_at) < now() - make_interval(secs => $1)
          and not exists (select from outbox where partition = $3 and created_at < now() - make_interval(secs => $1))
        order by e.due_at limit $2
        for update skip locked)
    update email as e set updated_at = now() from overdue where e.partition = $3 and e.email_id = overdue.email_id
    returning e.email_id";

/// Asks again for emails that have been due for longer than `patience`, at most `limit`. Answers how many.
pub async fn ask_for_overdue(pool: &Pool, patience: Duration, limit: u32) -> Result<usize, StoreError> {
    let mut asked_for = 0;
    // In another order each time, so that the limit is not always used up by the same ones.
    let mut partitions: Vec<i16> = partition::all().collect();
    partitions.rotate_left(usize::from(Uuid::now_v7().as_bytes()[15]) % usize::from(PARTITIONS));
    for partition in partitions {
        let left = i64::from(limit) - i64::try_from(asked_for).unwrap_or(i64::MAX);
        if left <= 0 {
            break;
        }
        asked_for += ask_in(pool, partition, patience, left).await?;
    }
    Ok(asked_for)
}

async fn ask_in(pool: &Pool, partition: i16, patience: Duration, limit: i64) -> Result<usize, StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let rows = transaction.query(OVERDUE, &[&patience.as_secs_f64(), &limit, &partition]).await?;
    let emails: Vec<EmailId> = rows.iter().map(|row| EmailId::from(row.get::<_, Uuid>(0))).collect();
    ask_for(&transaction, &emails).await?;
    transaction.commit().await?;
    Ok(emails.len())
}
