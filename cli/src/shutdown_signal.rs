//! When a process that runs for long is asked to stop.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// A token that the first SIGTERM or SIGINT cancels. A second one ends the process at once: what it held is delivered
/// again, to another.
pub(crate) fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    /// What shells call an end by Ctrl-C: 128 and the signal's number.
    const INTERRUPTED: i32 = 130;
    let mut terminate = signal(SignalKind::terminate()).context("could not listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not listen for SIGINT")?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if !first {
                std::process::exit(INTERRUPTED);
            }
            info!("Stopping; finishing what is in flight");
            stopped.cancel();
        }
    });
    Ok(stop)
}
