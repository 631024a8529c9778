//! The retry ladder: how long a mail waits after each failed attempt, and when it has waited enough.

use std::time::Duration;

use loyalty_common::text::Invalid;
use loyalty_common::topology::Rung;
use serde::Deserialize;

/// The rungs in the order in which a failing mail takes them. At least one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Ladder(Vec<Rung>);

/// Each rung is a queue that the broker keeps.
const RUNGS_MAX: usize = 16;

impl Ladder {
    /// A ladder of these rungs.
    pub fn new(rungs: Vec<Rung>) -> Result<Self, Invalid> {
        if (1..=RUNGS_MAX).contains(&rungs.len()) {
            Ok(Self(rungs))
        } else {
            Err(Invalid::new("the retry ladder must have 1 to 16 rungs"))
        }
    }

    /// The rungs, for the topology.
    pub fn rungs(&self) -> &[Rung] {
        &self.0
    }

    /// Where a mail waits after its attempt of this number, 1 for the first; none when it has been on every rung.
    pub(crate) fn after(&self, attempt: i32) -> Option<Rung> {
        let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or_default();
        self.0.get(index).copied()
    }

    /// The same, but for a mail that must not be given up: it stays on the last rung.
    pub(crate) fn after_or_last(&self, attempt: i32) -> Rung {
        let last = self.0.last().copied().expect("a ladder has at least one rung");
        self.after(attempt).unwrap_or(last)
    }

    /// Where a mail waits that is due in about this time: the longest rung within it, or else the shortest there is,
    /// so that it comes back late by one rung at most.
    pub(crate) fn within(&self, wait: Duration) -> Rung {
        let shortest = self.0.iter().min().copied().expect("a ladder has at least one rung");
        self.0.iter().filter(|rung| rung.wait() <= wait).max().copied().unwrap_or(shortest)
    }

    /// This rung and the shorter ones, the longest first.
    pub(crate) fn down_from(&self, rung: Rung) -> Vec<Rung> {
        let mut rungs: Vec<Rung> = self.0.iter().copied().filter(|other| *other < rung).collect();
        rungs.push(rung);
        rungs.sort_unstable_by(|one, other| other.cmp(one));
        rungs.dedup();
        rungs
    }
}

impl Default for Ladder {
    fn default() -> Self {
        Self(Rung::default_ladder())
    }
}

impl TryFrom<Vec<String>> for Ladder {
    type Error = Invalid;

    fn try_from(texts: Vec<String>) -> Result<Self, Invalid> {
        Self::new(texts.iter().map(|text| Rung::parse(text)).collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder(texts: &[&str]) -> Result<Ladder, Invalid> {
        Ladder::try_from(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn each_failure_climbs_a_rung_until_there_is_none() {
        let ladder = ladder(&["10s", "1m"]).expect("a ladder");
        let check = |attempt: i32, expected: Option<&str>| {
            assert_eq!(ladder.after(attempt).map(|rung| rung.to_string()).as_deref(), expected, "{attempt}");
        };
        check(1, Some("10s"));
        check(2, Some("1m"));
        check(3, None);
        check(i32::MAX, None);
    }

    #[test]
    fn a_mail_that_came_too_early_waits_about_its_time() {
        let ladder = ladder(&["10s", "1m", "10m"]).expect("a ladder");
        let check = |wait_seconds: u64, expected: &str| {
            assert_eq!(ladder.within(Duration::from_secs(wait_seconds)).to_string(), expected, "{wait_seconds}");
        };
        check(0, "10s");
        check(59, "10s");
        check(60, "1m");
        check(86_400, "10m");
    }

    #[test]
    fn a_mail_whose_rung_is_missing_tries_the_shorter_ones() {
        let ladder = ladder(&["1m", "10s", "10m", "10s"]).expect("a ladder");
        let check = |rung: &str, expected: &[&str]| {
            let rungs = ladder.down_from(Rung::parse(rung).expect("a rung"));
            assert_eq!(rungs.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{rung}");
        };
        check("10m", &["10m", "1m", "10s"]);
        check("10s", &["10s"]);
    }

    #[test]
    fn a_ladder_has_a_few_rungs_of_whole_seconds() {
        assert!(ladder(&[]).is_err());
        assert!(ladder(&["1s"; 17]).is_err());
        assert!(ladder(&["soon"]).is_err());
    }
}
