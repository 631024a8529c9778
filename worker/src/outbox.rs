//! What the relays of [emails](crate::email_relay) and of [events](crate::event_relay) have in common: when they
//! look, how long they hold what they took, what a message says of itself, and why something stays where it is.

use std::time::Duration;

use jiff::Timestamp;
use lapin::BasicProperties;
use loyalty_common::backoff;
use loyalty_common::envelope::{CONTENT_TYPE, PERSISTENT};
use loyalty_common::error_chain::chain;
use loyalty_common::publisher::{ConnectionState, PublishError, Publisher};
use loyalty_store::StoreError;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How long what was taken may be locked while its confirms are awaited. A confirm takes milliseconds; a transaction
/// that stays open for longer keeps the database from tidying up behind it.
pub(crate) const HOLD_MAX: Duration = Duration::from_secs(10);

/// How often to look without being woken: for rows whose process ended between its commit and the wake-up.
const POLL: Duration = Duration::from_secs(5);

/// How soon to look again after somebody else was at it: they may have looked before our rows were there. Short enough
/// that nobody waits for an event, long enough that asking costs nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What remains to be published.
pub(crate) enum Remaining {
    Nothing,
    /// What another worker is publishing.
    ElsewhereInWork,
}

/// Why not everything could be published. What is left stays where it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("could not read or delete waiting messages")]
    Store(#[from] StoreError),
    #[error("could not publish {left} of {taken} messages")]
    Publish { left: usize, taken: usize, source: NotPublished },
}

/// Why a message stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPublished {
    #[error("exchange {exchange} is unknown; was the row written by a newer release?")]
    UnknownExchange { exchange: String },
    #[error("the broker did not take a message")]
    Refused(#[source] PublishError),
    #[error("the broker confirmed nothing for {} seconds", HOLD_MAX.as_secs())]
    HeldTooLong,
}

/// Calls `drain` until `shutdown`: whenever `wake` is notified, now and then without, and after a failure with backoff.
pub(crate) async fn run_relay<F>(
    what: &'static str,
    wake: &Notify,
    shutdown: &CancellationToken,
    mut drain: impl FnMut() -> F,
) where
    F: Future<Output = Result<Remaining, RelayError>>,
{
    let mut attempt = 0;
    while !shutdown.is_cancelled() {
        match drain().await {
            Ok(left) => {
                attempt = 0;
                match left {
                    // A wake-up that came while we worked is remembered, so none is missed.
                    Remaining::Nothing => {
                        let woken = tokio::time::timeout(POLL, wake.notified());
                        shutdown.run_until_cancelled(woken).await;
                    }
                    Remaining::ElsewhereInWork => {
                        shutdown.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await;
                    }
                }
            }
            Err(error) => {
                attempt = if error.made_progress() { 0 } else { attempt };
                let wait = backoff::delay(attempt, backoff::jitter());
                attempt = attempt.saturating_add(1);
                error.report(what, wait);
                shutdown.run_until_cancelled(tokio::time::sleep(wait)).await;
            }
        }
    }
}

impl RelayError {
    /// Whether some were published: then the rest is worth another try soon. A listener's full queue, say, that is
    /// being worked off takes a few each time.
    const fn made_progress(&self) -> bool {
        match self {
            Self::Store(_) => false,
            Self::Publish { left, taken, .. } => *left < *taken,
        }
    }

    fn report(&self, what: &'static str, wait: Duration) {
        let (error, wait_ms) = (chain(self), wait.as_millis());
        if self.made_progress() {
            debug!(what, error, wait_ms, "Cannot publish some messages; retrying");
        } else {
            warn!(what, error, wait_ms, "Cannot publish messages; retrying");
        }
    }
}

/// Waits until the broker takes messages, so that no transaction is opened only to wait.
pub(crate) async fn connected(publisher: &Publisher) {
    let mut link = publisher.connection();
    // An error means that the publisher is closed, which publishing reports.
    let _ = link.wait_for(|link| *link == ConnectionState::Up).await;
}

/// What a message that a committed transaction wants published says of itself.
pub(crate) fn properties(message_id: &str, message_type: &str, created_at: Timestamp) -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type(CONTENT_TYPE.into())
        .with_message_id(message_id.into())
        .with_type(message_type.into())
        // Before 1970 only if the database's clock says so.
        .with_timestamp(u64::try_from(created_at.as_second()).unwrap_or_default())
        .with_app_id("loyalty".into())
}

pub(crate) async fn in_time<T>(
    deadline: Instant,
    step: impl Future<Output = Result<T, PublishError>>,
) -> Result<T, NotPublished> {
    timeout_at(deadline, step).await.map_err(|_| NotPublished::HeldTooLong)?.map_err(NotPublished::Refused)
}
