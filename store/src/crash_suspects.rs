//! Messages that their workers may have died of: which processes tried one alone, and whether one can be tried.
//!
//! The broker counts deliveries, but those of all that a process held when it died. Who did it is only known from
//! what the process was doing, and only if that was written down before.

use loyalty_common::MemberId;
use uuid::Uuid;

use crate::dead_letters::NewDeadLetter;
use crate::partition::partition;
use crate::pool::{Pool, StoreError};

/// A process counts once, however often it tries and whoever tries in between: one that lives to try again did not die
/// of it. Another message of the queue ends the count.
const NOTE: &str = "
    insert into suspect as known (queue, digest, tried) values ($1, $2, array[$3::uuid])
    on conflict (queue) do update set
        tried = case when known.digest <> $2 then array[$3::uuid]
                     when $3 = any(known.tried) then known.tried
                     else known.tried || $3::uuid end,
        digest = $2
    returning cardinality(tried)";

const TAKE_BACK: &str = "
    update suspect set tried = array_remove(tried, $3::uuid) where queue = $1 and digest = $2";

/// The lock ends with the statement.
const IS_LOCKED: &str = "
    select exists (select from member where partition = $2 and member_id = $1)
           and not exists (select from member where partition = $2 and member_id = $1 for update skip locked)";

/// Whether another session has locked the member's row, so that nothing about them can be tried.
pub async fn is_locked(pool: &Pool, member_id: &MemberId) -> Result<bool, StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(IS_LOCKED).await?;
    Ok(client.query_one(&statement, &[&member_id.as_str(), &partition(member_id)]).await?.get(0))
}

/// Notes that `worker` is about to apply a message alone, and answers how many processes have by now, with this one,
/// since a message of its queue was tried that is another. The message is told as the dead letter that it would be.
pub async fn note(pool: &Pool, message: &NewDeadLetter, worker: Uuid) -> Result<i32, StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(NOTE).await?;
    Ok(client.query_one(&statement, &[&message.source, &message.digest(), &worker]).await?.get(0))
}

/// Takes the note back: `worker` leaves the message to the next, and does not die of it.
pub async fn take_back(pool: &Pool, message: &NewDeadLetter, worker: Uuid) -> Result<(), StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(TAKE_BACK).await?;
    client.execute(&statement, &[&message.source, &message.digest(), &worker]).await?;
    Ok(())
}
