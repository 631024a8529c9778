//! One delay of the emails' retry schedule. Its queue's name carries the time, so that another delay is another
//! queue, and one that no schedule names any more can be told by its name.

use std::fmt;
use std::time::Duration;

use crate::values::Invalid;

/// What the names of all retry queues begin with.
const QUEUE_PREFIX: &str = "loyalty.emails.retry.";

/// How long an email waits for its next attempt. The retry queue's name carries the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetryDelay(Duration);

impl RetryDelay {
    /// Reads a text such as `10s`, `5m`, `6h`: whole seconds, one second to one day.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const DAY_SECONDS: u64 = 24 * 60 * 60;
        let wrong = || Invalid::new("must be a time such as 10s, 5m or 6h, from 1s to 24h");
        let unit_seconds = match text.bytes().last() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            _ => return Err(wrong()),
        };
        let digits = &text[..text.len() - 1];
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        let seconds = count.checked_mul(unit_seconds).ok_or_else(wrong)?;
        if (1..=DAY_SECONDS).contains(&seconds) { Ok(Self(Duration::from_secs(seconds))) } else { Err(wrong()) }
    }

    /// The delay.
    pub const fn wait(self) -> Duration {
        self.0
    }

    /// The routing key that leads to the retry queue.
    pub fn routing_key(self) -> String {
        format!("retry.{self}")
    }

    /// The retry queue.
    pub fn queue(self) -> String {
        format!("{QUEUE_PREFIX}{self}")
    }

    /// The delay of the retry queue of this name, if it is one.
    pub fn of_queue(name: &str) -> Option<Self> {
        let delay = Self::parse(name.strip_prefix(QUEUE_PREFIX)?).ok()?;
        // `60s` would be the queue `1m`: a queue of that name is not one that we made.
        (delay.queue() == name).then_some(delay)
    }

    /// The schedule that a fresh installation has: a hiccup, a restart, a greylist, an outage, a bad night.
    pub fn default_schedule() -> Vec<Self> {
        [10, 60, 600, 3600, 6 * 3600].into_iter().map(|seconds| Self(Duration::from_secs(seconds))).collect()
    }
}

impl fmt::Display for RetryDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            s if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s if s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_written_as_it_is_read() {
        let check = |text: &str, seconds: Option<u64>| {
            let delay = RetryDelay::parse(text).ok();
            assert_eq!(delay.map(|delay| delay.wait().as_secs()), seconds, "{text}");
            assert_eq!(delay.map(|delay| delay.to_string()), seconds.map(|_| text.to_owned()));
        };
        check("10s", Some(10));
        check("1m", Some(60));
        check("6h", Some(21600));
        for wrong in ["", "s", "0s", "10", "10d", "25h", "-1s", "99999999999999999999s", "1.5h", "é"] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_delay_is_known_by_the_name_of_its_queue() {
        let check = |name: &str, delay: Option<&str>| {
            assert_eq!(RetryDelay::of_queue(name).map(|delay| delay.to_string()).as_deref(), delay, "{name}");
        };
        check("loyalty.emails.retry.10m", Some("10m"));
        check("loyalty.emails.retry.60s", None);
        check("loyalty.emails.retry.soon", None);
        check("loyalty.emails.retry.", None);
        check("loyalty.emails", None);
    }
}
