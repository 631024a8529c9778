//! This machine's clock beside the database's, which decides what is ahead of its time.
//!
//! A machine's clock can be off by hours and nobody notices. So what we stamp ourselves is stamped with the database's
//! time, once that is known: as it was when it was asked last, and as much later as has passed since. A clock that
//! jumps in between changes nothing.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, SignedDurationRound, Timestamp, Unit};
use tracing::{info, warn};

use crate::pool::{Pool, StoreError};

/// From how much on a clock is called off. Machines that keep time are apart by milliseconds; a minute of an hour's
/// wait matters to nobody.
pub const OFF_FROM: SignedDuration = SignedDuration::from_mins(1);

/// How often the database is asked for the time. A question takes a fraction of a millisecond, and who watches wants to
/// know of a wrong clock before the day is over.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// An answer that took longer says nothing of the time by now: this process was stopped meanwhile, or the network was.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What this machine takes for the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    error: SignedDuration,
}

impl Clock {
    /// One that is off by that much, for tests: ahead, if it is positive.
    pub const fn off_by(error: SignedDuration) -> Self {
        Self { error }
    }

    fn now(self) -> Timestamp {
        Timestamp::now() + self.error
    }
}

/// The database's time as far as it is known.
#[derive(Debug, Default)]
pub struct DatabaseClock {
    own: Clock,
    last: Mutex<Option<Reading>>,
}

/// What the database said.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    time: Timestamp,
    offset: Offset,
}

/// How far this machine's clock is from the database's; positive: ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset(SignedDuration);

impl Offset {
    pub fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }

    /// Whether it is more than two machines that keep time are ever apart.
    pub fn is_off(self) -> bool {
        self.0.abs() > OFF_FROM
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Within what a clock can show, so that rounding cannot overflow.
        let rounded = self.0.round(SignedDurationRound::new().smallest(Unit::Second)).unwrap_or(self.0);
        let direction = if rounded.is_negative() { "behind" } else { "ahead of" };
        write!(f, "this machine's clock is {:#} {direction} the database's", rounded.abs())
    }
}

const NOW: &str = "select clock_timestamp()";

impl DatabaseClock {
    /// Beside that clock of ours.
    pub const fn beside(own: Clock) -> Self {
        Self { own, last: Mutex::new(None) }
    }

    /// Asks the database. Logs when a clock that is off is found first, and when it is right again.
    pub async fn ask(&self, pool: &Pool) -> Result<Offset, StoreError> {
        let client = pool.get().await?;
        let statement = client.prepare_cached(NOW).await?;
        let asked = Instant::now();
        let time: Timestamp = client.query_one(&statement, &[]).await?.get(0);
        if asked.elapsed() > ANSWER_LIMIT
            && let Some(reading) = self.last()
        {
            return Ok(reading.offset);
        }
        // A little late by now, for the way that the answer took: never ahead.
        let offset = Offset(self.own.now().duration_since(time));
        let before = self.last.lock().expect("nobody panics while holding it").replace(Reading {
            at: Instant::now(),
            time,
            offset,
        });
        match (before.is_some_and(|before| before.offset.is_off()), offset.is_off()) {
            (false, true) => {
                warn!(offset_seconds = offset.seconds(), "A clock is wrong: {offset}; set it by NTP");
            }
            (true, false) => {
                info!(offset_seconds = offset.seconds(), "This machine's clock agrees with the database's again");
            }
            (true, true) | (false, false) => {}
        }
        Ok(offset)
    }

    /// The database's time; our own, as long as the database was never asked.
    pub fn now(&self) -> Timestamp {
        let since = |reading: Reading| {
            let passed = SignedDuration::try_from(reading.at.elapsed()).ok()?;
            reading.time.checked_add(passed).ok()
        };
        self.last().and_then(since).unwrap_or_else(|| self.own.now())
    }

    /// How far ours was from the database's when it was asked last, if it ever was.
    pub fn offset(&self) -> Option<Offset> {
        self.last().map(|reading| reading.offset)
    }

    fn last(&self) -> Option<Reading> {
        *self.last.lock().expect("nobody panics while holding it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_told_in_words() {
        let check = |seconds: i64, off: bool, text: &str| {
            let offset = Offset(SignedDuration::from_secs(seconds));
            assert_eq!((offset.is_off(), offset.to_string().as_str()), (off, text));
        };
        check(7_384, true, "this machine's clock is 2h 3m 4s ahead of the database's");
        check(-61, true, "this machine's clock is 1m 1s behind the database's");
        check(-60, false, "this machine's clock is 1m behind the database's");
    }
}
