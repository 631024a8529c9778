//! How fast emails may leave: so many at once, so many a second. Who waits for a turn holds nothing else.

use std::num::{NonZeroU8, NonZeroU32};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// Hands out turns.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    places: Semaphore,
    /// From one turn to the next; zero: no limit.
    gap: Duration,
    next: Mutex<Instant>,
}

impl RateLimiter {
    pub(crate) fn new(places: NonZeroU8, per_second: Option<NonZeroU32>) -> Self {
        let gap = per_second.map_or(Duration::ZERO, |count| Duration::from_secs(1) / count.get());
        Self { places: Semaphore::new(usize::from(places.get())), gap, next: Mutex::new(Instant::now()) }
    }

    /// Waits for a turn; others may begin theirs when the place is dropped.
    pub(crate) async fn turn(&self) -> SemaphorePermit<'_> {
        let place = self.places.acquire().await.expect("the places are never closed");
        sleep_until(self.book()).await;
        place
    }

    /// The time of the next turn that is free. Turns that nobody took are not saved up.
    fn book(&self) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(Instant::now());
        *next = turn + self.gap;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_come_at_the_wanted_rate() {
        let limiter = RateLimiter::new(NonZeroU8::MAX, NonZeroU32::new(10));
        let began = Instant::now();
        for _ in 0..11 {
            drop(limiter.turn().await);
        }
        assert_eq!(began.elapsed().as_millis(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_places_at_once() {
        let limiter = RateLimiter::new(NonZeroU8::MIN, None);
        let taken = limiter.turn().await;
        assert!(tokio::time::timeout(Duration::from_secs(60), limiter.turn()).await.is_err());
        drop(taken);
        drop(limiter.turn().await);
    }
}
