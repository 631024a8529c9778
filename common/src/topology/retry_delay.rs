//! A rung of the mails' retry ladder. Its queue's name carries its time, so that a rung of another time is another
//! queue, and one that no ladder names any more can be told by its name.

use std::fmt;
use std::time::Duration;

use crate::text::Invalid;

/// What the names of all rungs' queues begin with.
const QUEUE_PREFIX: &str = "loyalty.emails.retry.";

/// A step of the mails' retry ladder: how long a mail waits. The queue's name carries the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rung(Duration);

impl Rung {
    /// The rung of a text such as `10s`, `5m`, `6h`: whole seconds, one second to one day.
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

    /// How long a mail waits on this rung.
    pub const fn wait(self) -> Duration {
        self.0
    }

    /// The routing key that leads to the rung.
    pub fn routing_key(self) -> String {
        format!("retry.{self}")
    }

    /// The rung's queue.
    pub fn queue(self) -> String {
        format!("{QUEUE_PREFIX}{self}")
    }

    /// The rung whose queue has this name, if it is that of one.
    pub fn of_queue(name: &str) -> Option<Self> {
        let rung = Self::parse(name.strip_prefix(QUEUE_PREFIX)?).ok()?;
        // `60s` would be the queue `1m`: a queue of that name is not one that we made.
        (rung.queue() == name).then_some(rung)
    }

    /// The ladder that a fresh installation has: a hiccup, a restart, a greylist, an outage, a bad night.
    pub fn default_ladder() -> Vec<Self> {
        [10, 60, 600, 3600, 6 * 3600].into_iter().map(|seconds| Self(Duration::from_secs(seconds))).collect()
    }
}

impl fmt::Display for Rung {
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
    fn a_rung_is_written_as_it_is_read() {
        let check = |text: &str, seconds: Option<u64>| {
            let rung = Rung::parse(text).ok();
            assert_eq!(rung.map(|rung| rung.wait().as_secs()), seconds, "{text}");
            assert_eq!(rung.map(|rung| rung.to_string()), seconds.map(|_| text.to_owned()));
        };
        check("10s", Some(10));
        check("1m", Some(60));
        check("6h", Some(21600));
        for wrong in ["", "s", "0s", "10", "10d", "25h", "-1s", "99999999999999999999s", "1.5h", "é"] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_rung_is_told_by_the_name_of_its_queue() {
        let check = |name: &str, rung: Option<&str>| {
            assert_eq!(Rung::of_queue(name).map(|rung| rung.to_string()).as_deref(), rung, "{name}");
        };
        check("loyalty.emails.retry.10m", Some("10m"));
        check("loyalty.emails.retry.60s", None);
        check("loyalty.emails.retry.soon", None);
        check("loyalty.emails.retry.", None);
        check("loyalty.emails", None);
    }
}
