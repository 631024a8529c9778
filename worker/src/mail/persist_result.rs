//! Writing down what is known here and nowhere else.

use loyalty_common::backoff;
use loyalty_common::error_chain::chain;
use loyalty_store::StoreError;
use tracing::{error, warn};

/// Writes, and tries again for as long as the database is away: what is given up is lost with the process, and an email
/// whose outcome its mailer knew ends as one whose delivery is unknown. So it has no limit of its own; a stop ends it
/// after the drain time. Who writes holds no more than an email, and no session begins while the database does not
/// answer.
///
/// `write` is told whether it may have been done before, its answer lost. What the database refuses for what it says is
/// refused every time, and is an error; so is a right that the role lacks. Then the email's place is free for others,
/// its request comes again, and once the lease is over its delivery is unknown.
pub(crate) async fn persist_result<T, F>(write: impl Fn(bool) -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut tries = 0;
    loop {
        match write(tries > 0).await {
            Err(error) if error.is_forbidden() => {
                error!(
                    error = chain(&error),
                    "Cannot store an email's result: the worker's role lacks a privilege; grant it (docs/operating.md)"
                );
                return Err(error);
            }
            Err(error) if !error.is_content_refused() => {
                let wait = backoff::delay(tries, backoff::jitter());
                tries = tries.saturating_add(1);
                warn!(error = chain(&error), wait_ms = wait.as_millis(), "Cannot store an email's result; retrying");
                tokio::time::sleep(wait).await;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_database_that_is_away_for_an_hour_is_waited_for() {
        const AWAY: StoreError = StoreError::UnexpectedValue { column: "none" };
        let (began, tries) = (Instant::now(), AtomicU32::new(0));
        let write = async |repeated| {
            assert_eq!(repeated, tries.fetch_add(1, Ordering::Relaxed) > 0);
            if began.elapsed().as_secs() < 3_600 { Err(AWAY) } else { Ok("written") }
        };
        assert_eq!(persist_result(write).await.expect("it comes back"), "written");
        assert!(began.elapsed().as_secs() < 3_600 + backoff::LONGEST.as_secs());
    }
}
