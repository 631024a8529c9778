//! How fast a replay goes, and when its first dead letters stop it. Pure.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use loyalty_store::dead_letters::{Concluded, DeadLetterId};
use tokio::time::Instant;

/// How fast a replay goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Dead letters per second at most; none: as fast as the broker confirms.
    pub per_second: Option<NonZeroU32>,
    /// Send these first, and look how they fare.
    pub canary: Option<Canary>,
    /// How long results are awaited while none comes.
    pub patience: Duration,
}

/// The first dead letters, which tell whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    pub dead_letters: NonZeroUsize,
    /// Stop if more than so many in a hundred come to a bad end.
    pub stop_at_percent: u8,
}

impl Pace {
    /// How many dead letters the next wave may have: never more than a second's worth, so that the pace is kept within
    /// it.
    pub(super) fn wave(&self, most: usize) -> usize {
        let of_a_second = self.per_second.and_then(|rate| usize::try_from(rate.get()).ok());
        of_a_second.map_or(most, |rate| rate.min(most))
    }

    /// When the next wave may go, if one of so many dead letters begins now.
    pub(super) fn after(&self, now: Instant, dead_letters: usize) -> Instant {
        let Some(rate) = self.per_second else { return now };
        let dead_letters = u32::try_from(dead_letters).unwrap_or(u32::MAX);
        now + Duration::from_secs(1).saturating_mul(dead_letters) / rate.get()
    }
}

impl Canary {
    /// How many of them came to a bad end, of how many, if that is too many.
    pub(super) fn failed(&self, concluded: &[(DeadLetterId, Concluded)]) -> Option<(usize, usize)> {
        let failed = concluded.iter().filter(|(_, concluded)| !is_good(concluded)).count();
        let too_many = failed * 100 > concluded.len() * usize::from(self.stop_at_percent);
        too_many.then_some((failed, concluded.len()))
    }
}

/// What an operator replays dead letters for: the points are there, or the email is on its way.
const fn is_good(concluded: &Concluded) -> bool {
    match concluded {
        Concluded::Applied { .. } | Concluded::Duplicate | Concluded::Queued => true,
        Concluded::Refused { .. } | Concluded::Parked | Concluded::Dead { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(per_second: u32) -> Pace {
        Pace { per_second: NonZeroU32::new(per_second), canary: None, patience: Duration::ZERO }
    }

    #[test]
    fn a_pace_is_kept_within_a_second() {
        let now = Instant::now();
        let check = |per_second: u32, wave: usize, wait_ms: u64| {
            let pace = pace(per_second);
            assert_eq!(pace.wave(100), wave, "{per_second} per second");
            assert_eq!(pace.after(now, wave) - now, Duration::from_millis(wait_ms), "{per_second} per second");
        };
        check(0, 100, 0);
        check(1, 1, 1_000);
        check(50, 50, 1_000);
        check(1_000, 100, 100);
    }

    #[test]
    fn a_canary_stops_at_more_than_its_share() {
        let canary = |stop_at_percent| Canary { dead_letters: NonZeroUsize::new(10).expect("10"), stop_at_percent };
        let id = |n: i64| n.to_string().parse().expect("a number");
        let of = |bad: i64| -> Vec<_> {
            let end = |n: i64| if n <= bad { Concluded::Parked } else { Concluded::Duplicate };
            (1..=10).map(|n| (id(n), end(n))).collect()
        };
        assert_eq!(canary(10).failed(&of(1)), None);
        assert_eq!(canary(10).failed(&of(2)), Some((2, 10)));
        assert_eq!(canary(0).failed(&of(0)), None);
        assert_eq!(canary(0).failed(&of(1)), Some((1, 10)));
        assert_eq!(canary(100).failed(&of(10)), None);
        assert_eq!(canary(0).failed(&[]), None);
    }
}
