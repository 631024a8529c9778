//! Keeping a part of the worker running: a session is built, runs until something it hangs on breaks, and is built
//! anew, whole, after a jittered wait. No half of a broken connection is ever mended.

use std::time::{Duration, Instant};

use loyalty_common::backoff;
use loyalty_common::publisher::chain;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::{Part, Reconnects};

/// A session that lasted this long was healthy: the next break starts with the short wait again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Runs sessions until one ends by itself, which means that it was told to stop, or until `shutdown`. Errors are
/// counted and logged here, once each.
pub(crate) async fn supervise<E, F>(
    part: Part,
    reconnects: &Reconnects,
    shutdown: &CancellationToken,
    mut session: impl FnMut() -> F,
) where
    E: std::error::Error + 'static,
    F: Future<Output = Result<(), E>>,
{
    let mut attempt = 0;
    while !shutdown.is_cancelled() {
        let began = Instant::now();
        let Err(error) = session().await else { break };
        if began.elapsed() > HEALTHY_AFTER {
            attempt = 0;
        }
        reconnects.broke(part);
        let wait = backoff::delay(attempt, backoff::jitter());
        attempt = attempt.saturating_add(1);
        warn!(%part, error = chain(&error), wait_ms = wait.as_millis(), "A part of the worker broke; it starts again");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => {}
        }
    }
    info!(%part, "Stopped");
}
