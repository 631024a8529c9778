//! The gauges of what members have: a sum over all of them, read the more rarely the longer it takes.

use std::time::{Duration, Instant};

use loyalty_common::error_chain::chain;
use loyalty_store::books::{Books, books};
use loyalty_store::pool::{DatabaseUrl, PlannerProfile};
use loyalty_store::{Pool, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::metrics::Snapshot;

/// Between two readings at least. An accountant asks once a day, a graph by the minute.
const INTERVAL: Duration = Duration::from_secs(60);

/// And at least so many times as long as the last one took, so that with any number of members a worker has the
/// database at it for a hundredth of the time.
const SHARE: u32 = 100;

/// How long a reading may take. Where it takes longer, the gauges are absent, and `verify` tells.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn pool(database: &DatabaseUrl) -> Result<Pool, StoreError> {
    Pool::with_timeout(database, PlannerProfile::Queries, 1, STATEMENT_TIMEOUT)
}

/// Reads until `shutdown`.
pub(crate) async fn read(pool: Pool, latest: Snapshot<Books>, shutdown: CancellationToken) {
    let mut told = false;
    loop {
        let began = Instant::now();
        let Some(read) = shutdown.run_until_cancelled(books(&pool)).await else { return };
        let failed = read.as_ref().err().map(|error| chain(error));
        latest.set(read.ok());
        if let Some(error) = &failed
            && !told
        {
            warn!(error, "Cannot sum up what members have; its gauges are withheld");
        }
        told = failed.is_some();
        let wait = INTERVAL.max(began.elapsed() * SHARE);
        if shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
    }
}
