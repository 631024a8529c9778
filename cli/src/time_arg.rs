//! A point in time as an operator gives it: a day, a time, or how long ago.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The length of `YYYY-MM-DD`.
const DATE_BYTES: usize = 10;

/// The longest "ago". Whoever looks further back names the day.
const AGO_MAX: SignedDuration = SignedDuration::from_hours(24 * 366);

/// Reads `2026-11-22` (its midnight in UTC), `2026-11-22T10:00:00Z`, or `90m`, `2h`, `3d` before now.
pub(crate) fn time_arg(text: &str) -> Result<Timestamp, String> {
    at(text, Timestamp::now())
        .ok_or_else(|| "must be a day (2026-11-22), a time (2026-11-22T10:00:00Z) or how long ago (90m, 2h, 3d)".into())
}

fn at(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(ago) = ago(text) {
        return now.checked_sub(ago).ok();
    }
    // By length first: as a date, jiff also takes times, and drops the hours.
    if text.len() == DATE_BYTES {
        return Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    text.parse().ok()
}

/// Days have 24 hours here, which jiff's own durations do not assume.
fn ago(text: &str) -> Option<SignedDuration> {
    let duration = match text.strip_suffix('d') {
        Some(days) => SignedDuration::from_hours(days.parse::<i64>().ok()?.checked_mul(24)?),
        None => text.parse().ok()?,
    };
    (SignedDuration::ZERO..=AGO_MAX).contains(&duration).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_a_time_or_how_long_ago() {
        let now = "2026-11-22T10:00:00Z".parse().expect("a time");
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(at(text, now).map(|at| at.to_string()).as_deref(), expected, "{text}");
        };
        check("2026-11-21", Some("2026-11-21T00:00:00Z"));
        check("2026-11-21T08:00:00+01:00", Some("2026-11-21T07:00:00Z"));
        check("90m", Some("2026-11-22T08:30:00Z"));
        check("2h", Some("2026-11-22T08:00:00Z"));
        check("3d", Some("2026-11-19T10:00:00Z"));
        for wrong in ["", "yesterday", "-2h", "d", "400d", "9999999999999999999d", "2026-02-30", "2026-11-21T08:00:00"]
        {
            check(wrong, None);
        }
    }
}
