//! When something happened: a date or a time, as shops write them.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use loyalty_common::command::to_microseconds;

/// The first year that the contract takes.
const FIRST_YEAR: i16 = 1900;

/// The length of `YYYY-MM-DD`.
const DATE_BYTES: usize = 10;

/// The moment of a text, if it is a date (its midnight in UTC) or an RFC 3339 time, of the years 1900 to 9999.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    // By length first: as a date, jiff also takes times, and drops the hours.
    let at = if text.len() == DATE_BYTES {
        text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()
    } else {
        text.parse::<Timestamp>().ok()?
    };
    (at.to_zoned(TimeZone::UTC).year() >= FIRST_YEAR).then(|| to_microseconds(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_or_a_time_with_its_offset() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(parse(text).map(|at| at.to_string()).as_deref(), expected, "{text}");
        };
        check("1997-01-18", Some("1997-01-18T00:00:00Z"));
        check("2026-11-22T10:00:00+01:00", Some("2026-11-22T09:00:00Z"));
        check("2026-11-22T10:00:00.1234567Z", Some("2026-11-22T10:00:00.123456Z"));
        check("2026-11-22 10:00:00Z", Some("2026-11-22T10:00:00Z"));
        for wrong in
            ["", "1997-02-30", "97-01-18", "18.01.1997", "01/18/1997", "1899-12-31", "2026-11-22T10:00:00", "x"]
        {
            check(wrong, None);
        }
    }
}
