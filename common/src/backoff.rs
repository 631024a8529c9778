//! How long to wait before trying a server again: longer after each failure, and short again once it has worked.
//!
//! The wait is a pure function of the attempt; the jitter is the caller's number.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

/// The first wait: short, since most breaks are a restart of seconds.
pub const FIRST: Duration = Duration::from_millis(200);

/// The longest wait: an operator who repairs a server sees it taken up within this time.
pub const LONGEST: Duration = Duration::from_secs(15);

/// A session that stood open for so long works, also if there was nothing to do in it. Below it a server that ends each
/// session as soon as it stands is not asked in a hurry; above it a break is a new one.
pub const PROVEN_AFTER: Duration = Duration::from_secs(1);

/// The waits between the tries of one thing.
#[derive(Debug, Default)]
pub struct Backoff {
    attempt: u32,
}

impl Backoff {
    /// The wait after one more failure.
    pub fn next_wait(&mut self) -> Duration {
        let wait = delay(self.attempt, jitter());
        self.attempt = self.attempt.saturating_add(1);
        wait
    }

    /// The wait after a session that failed: short again, if the session had worked.
    pub fn wait_after(&mut self, session: &SessionProgress) -> Duration {
        if session.has_worked() {
            self.begin_again();
        }
        self.next_wait()
    }

    /// It worked: the next failure is a new one.
    pub fn begin_again(&mut self) {
        self.attempt = 0;
    }
}

/// What a session says of its progress: the proof that it has really worked, for whoever builds the next one.
#[derive(Clone, Debug, Default)]
pub struct SessionProgress(Arc<Evidence>);

#[derive(Debug, Default)]
struct Evidence {
    opened: OnceLock<Instant>,
    worked: AtomicBool,
}

impl SessionProgress {
    /// All that the session needs stands open.
    pub fn opened(&self) {
        self.0.opened.get_or_init(Instant::now);
    }

    /// The session brought something to its end.
    pub fn worked(&self) {
        self.0.worked.store(true, Ordering::Relaxed);
    }

    /// Whether it worked, or stood open for long enough.
    pub fn has_worked(&self) -> bool {
        let stood = || self.0.opened.get().is_some_and(|opened| opened.elapsed() >= PROVEN_AFTER);
        self.0.worked.load(Ordering::Relaxed) || stood()
    }
}

/// The wait before attempt `attempt` (0 is the first retry): doubling, bounded, and spread by `jitter` (0.0 to 1.0)
/// over its upper half, so that many workers do not knock at the same moment.
pub fn delay(attempt: u32, jitter: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX));
    let bounded = doubled.min(LONGEST);
    bounded.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// A number from 0.0 to 1.0 for [`delay`]: the random bits of a fresh UUID, so that no further crate is needed.
pub fn jitter() -> f64 {
    let (_, bits) = uuid::Uuid::now_v7().as_u64_pair();
    let low = u32::try_from(bits & u64::from(u32::MAX)).expect("masked to 32 bits");
    f64::from(low) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_wait_is_bounded_and_never_shrinks(attempt in 0_u32..10_000, jitter in 0.0..=1.0_f64) {
            let wait = delay(attempt, jitter);
            prop_assert!(wait >= FIRST / 2 && wait <= LONGEST);
            prop_assert!(delay(attempt + 1, jitter) >= wait);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_until_a_session_has_worked() {
        let mut backoff = Backoff::default();
        let mut after = |session: &SessionProgress| backoff.wait_after(session);
        let failed = SessionProgress::default();
        for attempt in 0..8 {
            let wait = after(&failed);
            assert!((delay(attempt, 0.0)..=delay(attempt, 1.0)).contains(&wait), "{attempt}: {wait:?}");
        }

        let settled = SessionProgress::default();
        settled.worked();
        assert!(after(&settled) <= FIRST);

        let opened = SessionProgress::default();
        opened.opened();
        assert!(after(&opened) > FIRST, "it may have ended as soon as it stood");
        tokio::time::advance(PROVEN_AFTER).await;
        for _ in 0..8 {
            assert!(after(&opened) <= FIRST, "each break after full recovery is a new one");
        }
    }

    #[test]
    fn waits_are_spread() {
        assert_eq!(delay(0, 0.0), Duration::from_millis(100));
        assert_eq!(delay(0, 1.0), Duration::from_millis(200));
        assert_eq!(delay(40, 1.0), LONGEST);
        assert!((0.0..=1.0).contains(&jitter()));
    }
}
