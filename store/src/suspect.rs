//! Messages that their workers may have died of: how many processes tried one alone.
//!
//! The broker counts deliveries, but those of all that a process held when it died. Who did it is only known from
//! what the process was doing, and only if that was written down before.

use uuid::Uuid;

use crate::dead_letter::NewDeadLetter;
use crate::pool::{Pool, StoreError};

/// A process counts once, however often it tries: one that lives to try again did not die of it. Another message of
/// the queue ends the count.
const NOTE: &str = "
    insert into suspect as known (queue, digest, worker, workers) values ($1, $2, $3, 1)
    on conflict (queue) do update set
        workers = case when known.digest <> $2 then 1
                       when known.worker = $3 then known.workers
                       else known.workers + 1 end,
        digest = $2, worker = $3
    returning workers";

/// Notes that `worker` is about to apply a message alone, and answers how many processes have by now, with this one,
/// since a message of its queue was tried that is another. The message is told as the letter that it would be.
pub async fn note(pool: &Pool, message: &NewDeadLetter, worker: Uuid) -> Result<i32, StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(NOTE).await?;
    Ok(client.query_one(&statement, &[&message.source, &message.digest(), &worker]).await?.get(0))
}
