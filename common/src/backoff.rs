//! How long to wait before trying a server again. A pure function of the attempt; the jitter is the caller's number.

use std::time::Duration;

/// The first wait: short, since most breaks are a restart of seconds.
pub const FIRST: Duration = Duration::from_millis(200);

/// The longest wait: an operator who mends a server sees it taken up within this time.
pub const LONGEST: Duration = Duration::from_secs(15);

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

    #[test]
    fn waits_are_spread() {
        assert_eq!(delay(0, 0.0), Duration::from_millis(100));
        assert_eq!(delay(0, 1.0), Duration::from_millis(200));
        assert_eq!(delay(40, 1.0), LONGEST);
        assert!((0.0..=1.0).contains(&jitter()));
    }
}
