//! Keeping a part of the worker running: a session is built, runs until something it hangs on breaks, and is built
//! again, whole, after a jittered wait. No half of a broken connection is ever repaired.

use loyalty_common::backoff::{Backoff, SessionProgress};
use loyalty_common::error_chain::chain;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::{Part, Reconnects};

/// Runs sessions until one ends by itself, which means that it was told to stop, or until `shutdown`. Errors are
/// counted and logged here, once each. A session says by its [`SessionProgress`] that it worked: then the wait is short
/// again.
pub(crate) async fn supervise<E, F>(
    part: Part,
    reconnects: &Reconnects,
    shutdown: &CancellationToken,
    mut session: impl FnMut(SessionProgress) -> F,
) where
    E: std::error::Error + 'static,
    F: Future<Output = Result<(), E>>,
{
    let mut backoff = Backoff::default();
    while !shutdown.is_cancelled() {
        let progress = SessionProgress::default();
        let Err(error) = session(progress.clone()).await else { break };
        reconnects.broke(part);
        let wait = backoff.wait_after(&progress);
        warn!(%part, error = chain(&error), wait_ms = wait.as_millis(), "A part of the worker failed and restarts");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => {}
        }
    }
    info!(%part, "Stopped");
}
