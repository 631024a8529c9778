//! The retry schedule: how long an email waits after each failed attempt, and when it has waited enough.

use std::time::Duration;

use loyalty_common::topology::RetryDelay;
use loyalty_common::values::Invalid;
use serde::Deserialize;

/// The delays in the order in which a failing email waits them. At least one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct RetrySchedule(Vec<RetryDelay>);

/// Each delay is a queue that the broker keeps.
const DELAYS_MAX: usize = 16;

impl RetrySchedule {
    /// A schedule of these delays.
    pub fn new(delays: Vec<RetryDelay>) -> Result<Self, Invalid> {
        if (1..=DELAYS_MAX).contains(&delays.len()) {
            Ok(Self(delays))
        } else {
            Err(Invalid::new("the retry schedule must have 1 to 16 delays"))
        }
    }

    /// The delays, for the topology.
    pub fn delays(&self) -> &[RetryDelay] {
        &self.0
    }

    /// Where an email waits after its attempt of this number, 1 for the first; none when it has waited every delay.
    pub(crate) fn after(&self, attempt: i32) -> Option<RetryDelay> {
        let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or_default();
        self.0.get(index).copied()
    }

    /// The same, but for an email that must not be given up: it stays at the last delay.
    pub(crate) fn after_or_last(&self, attempt: i32) -> RetryDelay {
        let last = self.0.last().copied().expect("a schedule has at least one delay");
        self.after(attempt).unwrap_or(last)
    }

    /// Where an email waits that is due in about this time: the longest delay within it, or else the shortest there is,
    /// so that it comes back late by one delay at most.
    pub(crate) fn within(&self, wait: Duration) -> RetryDelay {
        let shortest = self.0.iter().min().copied().expect("a schedule has at least one delay");
        self.0.iter().filter(|delay| delay.wait() <= wait).max().copied().unwrap_or(shortest)
    }

    /// This delay and the shorter ones, the longest first.
    pub(crate) fn down_from(&self, delay: RetryDelay) -> Vec<RetryDelay> {
        let mut delays: Vec<RetryDelay> = self.0.iter().copied().filter(|other| *other < delay).collect();
        delays.push(delay);
        delays.sort_unstable_by(|one, other| other.cmp(one));
        delays.dedup();
        delays
    }
}

impl Default for RetrySchedule {
    fn default() -> Self {
        Self(RetryDelay::default_schedule())
    }
}

impl TryFrom<Vec<String>> for RetrySchedule {
    type Error = Invalid;

    fn try_from(texts: Vec<String>) -> Result<Self, Invalid> {
        Self::new(texts.iter().map(|text| RetryDelay::parse(text)).collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(texts: &[&str]) -> Result<RetrySchedule, Invalid> {
        RetrySchedule::try_from(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn each_failure_waits_the_next_delay_until_there_is_none() {
        let schedule = schedule(&["10s", "1m"]).expect("a schedule");
        let check = |attempt: i32, expected: Option<&str>| {
            assert_eq!(schedule.after(attempt).map(|delay| delay.to_string()).as_deref(), expected, "{attempt}");
        };
        check(1, Some("10s"));
        check(2, Some("1m"));
        check(3, None);
        check(i32::MAX, None);
    }

    #[test]
    fn an_email_that_came_too_early_waits_about_its_time() {
        let schedule = schedule(&["10s", "1m", "10m"]).expect("a schedule");
        let check = |wait_seconds: u64, expected: &str| {
            assert_eq!(schedule.within(Duration::from_secs(wait_seconds)).to_string(), expected, "{wait_seconds}");
        };
        check(0, "10s");
        check(59, "10s");
        check(60, "1m");
        check(86_400, "10m");
    }

    #[test]
    fn an_email_whose_retry_queue_is_missing_tries_the_shorter_ones() {
        let schedule = schedule(&["1m", "10s", "10m", "10s"]).expect("a schedule");
        let check = |delay: &str, expected: &[&str]| {
            let delays = schedule.down_from(RetryDelay::parse(delay).expect("a delay"));
            assert_eq!(delays.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{delay}");
        };
        check("10m", &["10m", "1m", "10s"]);
        check("10s", &["10s"]);
    }

    #[test]
    fn a_schedule_has_a_few_delays_of_whole_seconds() {
        assert!(schedule(&[]).is_err());
        assert!(schedule(&["1s"; 17]).is_err());
        assert!(schedule(&["soon"]).is_err());
    }
}
