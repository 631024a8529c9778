//! When something happened: a date or a time, as programs write them.
//!
//! Without a flag only what has one reading everywhere: ISO 8601, as MySQL and Shopify write it too. Anything else is
//! refused with the format that would read it, or with both if there are two.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use loyalty_common::command::to_microseconds;
use loyalty_common::values::Invalid;

/// The first year that the contract takes.
const FIRST_YEAR: i16 = 1900;

/// The length of `YYYY-MM-DD`.
const DATE_BYTES: usize = 10;

/// How Shopify writes a time: no RFC 3339, and still with one reading.
const WITH_SPACE_BEFORE_OFFSET: &str = "%Y-%m-%d %H:%M:%S %z";

/// The days that a spreadsheet counts from 1900 until 1990 and 2100: numbers of five digits.
const SPREADSHEET_DAYS: std::ops::Range<u32> = 32_874..73_051;

/// How times are read.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    /// Where the clock hangs whose time is written without a zone.
    pub(super) zone: TimeZone,
    pub(super) format: Option<DateFormat>,
}

/// A moment, and the same as the file means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) at: Timestamp,
    /// In one form whatever the file's: with `Z` if the file says a zone, without if it does not, so that an id that is
    /// made from it does not change with `--zone`.
    pub(super) written: String,
}

/// Why a text is no moment. The texts never quote it: a wrong column may hold an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MomentError {
    #[error("the time is empty")]
    Empty,
    #[error("the time does not have the form of --date-format")]
    NotAsGiven,
    #[error("the time can be read two ways: give --date-format '{day_first}' or '{month_first}'")]
    TwoReadings { day_first: String, month_first: String },
    #[error("the time is not in ISO 8601: give --date-format '{0}'")]
    OtherForm(String),
    #[error("the time is the day number of a spreadsheet: format that column as YYYY-MM-DD before you export it")]
    DayNumber,
    #[error(
        "the time must be a date such as 2026-11-22, or a time such as 2026-11-22 10:00:00 or 2026-11-22T10:00:00+01:00, of 1900 to 9998"
    )]
    NoTime,
}

/// A format of `strptime` that says year, month and day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DateFormat(String);

impl std::str::FromStr for DateFormat {
    type Err = Invalid;

    fn from_str(format: &str) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid::new("must be a format of strptime with year, month and day, such as %d.%m.%Y or '%m/%d/%Y %H:%M'")
        };
        let example: Timestamp = "2026-11-22T10:11:12Z".parse().expect("a time");
        let text = strtime::format(format, &example.to_zoned(TimeZone::UTC)).map_err(|_| wrong())?;
        let read = strtime::parse(format, &text).and_then(|parts| parts.to_date()).map_err(|_| wrong())?;
        (read == example.to_zoned(TimeZone::UTC).date()).then(|| Self(format.to_owned())).ok_or_else(wrong)
    }
}

/// What a text says, before a zone is put to it.
enum ParsedTime {
    Instant(Timestamp),
    Local(DateTime),
}

impl Moments {
    /// The moment of a text.
    pub(super) fn parse(&self, text: &str) -> Result<Moment, MomentError> {
        if text.is_empty() {
            return Err(MomentError::Empty);
        }
        let read = match &self.format {
            Some(format) => by_format(&format.0, text).ok_or(MomentError::NotAsGiven)?,
            None => iso(text).ok_or_else(|| hint(text))?,
        };
        let (at, written) = match read {
            ParsedTime::Instant(at) => (at, at.to_string()),
            ParsedTime::Local(local) => {
                let at = local.to_zoned(self.zone.clone()).map_err(|_| MomentError::NoTime)?.timestamp();
                (at, local.to_string())
            }
        };
        let in_range = at.to_zoned(TimeZone::UTC).year() >= FIRST_YEAR;
        in_range.then(|| Moment { at: to_microseconds(at), written }).ok_or(MomentError::NoTime)
    }
}

fn iso(text: &str) -> Option<ParsedTime> {
    let bytes = text.as_bytes();
    // jiff reads more than that as dates and times: weeks, and digits without anything between them.
    if bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return None;
    }
    // By length first: as a date, jiff also takes times, and drops the hours; as a time without a zone, it takes an
    // offset, and drops that.
    if text.len() == DATE_BYTES {
        let date: jiff::civil::Date = text.parse().ok()?;
        return Some(ParsedTime::Local(date.to_datetime(Time::midnight())));
    }
    if let Ok(at) = text.parse() {
        return Some(ParsedTime::Instant(at));
    }
    if let Some(read) = by_format(WITH_SPACE_BEFORE_OFFSET, text) {
        return Some(read);
    }
    let digits_only =
        text.bytes().skip(DATE_BYTES + 1).all(|byte| byte.is_ascii_digit() || byte == b':' || byte == b'.');
    text.parse().ok().filter(|_| digits_only).map(ParsedTime::Local)
}

fn by_format(format: &str, text: &str) -> Option<ParsedTime> {
    let parts = strtime::parse(format, text).ok()?;
    if parts.offset().is_some() || parts.timestamp().is_some() {
        return parts.to_timestamp().ok().map(ParsedTime::Instant);
    }
    let time = if parts.hour().is_some() { parts.to_time().ok()? } else { Time::midnight() };
    Some(ParsedTime::Local(parts.to_date().ok()?.to_datetime(time)))
}

/// What would help with a text that is no moment.
fn hint(text: &str) -> MomentError {
    let whole = text.split('.').next().unwrap_or_default();
    if whole.len() == 5 && whole.parse().is_ok_and(|days| SPREADSHEET_DAYS.contains(&days)) {
        return MomentError::DayNumber;
    }
    let (date, time) = text.split_once([' ', 'T']).map_or((text, None), |(date, time)| (date, Some(time)));
    let time = match time.map(|time| time.matches(':').count()) {
        None => "",
        Some(1) => " %H:%M",
        Some(_) => " %H:%M:%S",
    };
    // As a text, so that what is suggested is what would read it.
    let reads = |form: &str| {
        let format = format!("{form}{time}");
        by_format(&format, text).is_some().then_some(format)
    };
    if date.len() == 8
        && let Some(format) = reads("%Y%m%d")
    {
        return MomentError::OtherForm(format);
    }
    for between in ['/', '.', '-'] {
        let [year_first, day_first, month_first] = ["%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y"]
            .map(|form| reads(&form.replace('/', &between.to_string())).filter(|_| date.contains(between)));
        return match (year_first, day_first, month_first) {
            (Some(format), _, _) | (None, Some(format), None) | (None, None, Some(format)) => {
                MomentError::OtherForm(format)
            }
            (None, Some(day_first), Some(month_first)) => MomentError::TwoReadings { day_first, month_first },
            (None, None, None) => continue,
        };
    }
    MomentError::NoTime
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(zone: &str, format: Option<&str>) -> Moments {
        let zone = TimeZone::get(zone).expect("a zone");
        Moments { zone, format: format.map(|format| format.parse().expect("a format")) }
    }

    #[test]
    fn iso_dates_and_times_are_read_with_and_without_a_zone() {
        let utc = moments("UTC", None);
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(utc.parse(text).map(|it| it.at.to_string()).ok().as_deref(), expected, "{text}");
        };
        check("1997-01-18", Some("1997-01-18T00:00:00Z"));
        check("2026-11-22T10:00:00+01:00", Some("2026-11-22T09:00:00Z"));
        check("2026-11-22 10:00:00+01:00", Some("2026-11-22T09:00:00Z"));
        check("2026-11-22T10:00:00.1234567Z", Some("2026-11-22T10:00:00.123456Z"));
        check("2026-11-22 10:00:00Z", Some("2026-11-22T10:00:00Z"));
        check("2026-11-22T10:00Z", Some("2026-11-22T10:00:00Z"));
        check("2026-11-22 10:00:00", Some("2026-11-22T10:00:00Z"));
        check("2026-11-22 10:00:00.000000", Some("2026-11-22T10:00:00Z"));
        check("2026-11-22T10:00:00", Some("2026-11-22T10:00:00Z"));
        check("2026-11-22 10:00", Some("2026-11-22T10:00:00Z"));
        check("2026-11-22 10:00:00 +0100", Some("2026-11-22T09:00:00Z"));
        for wrong in [
            "",
            "1997-02-30",
            "97-01-18",
            "1899-12-31",
            "0000-00-00",
            "x",
            "2026-11-22 25:00:00",
            "2026-W47-7",
            "2026-11-22 10:00:00 CET",
            "2026-11-22 10:00:00 PM",
            "2026-11-31",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_has_another_form_is_refused_with_the_format_that_would_read_it() {
        let check = |text: &str, expected: &str| {
            let error = moments("UTC", None).parse(text).expect_err(text);
            assert!(error.to_string().contains(expected), "{text}: {error}");
            if let MomentError::OtherForm(format) = error {
                assert!(moments("UTC", Some(&format)).parse(text).is_ok(), "{text} by {format}");
            }
        };
        check("11/22/2026", "'%m/%d/%Y'");
        check("22.11.2026", "'%d.%m.%Y'");
        check("22.11.2026 10:00", "'%d.%m.%Y %H:%M'");
        check("22-11-2026 10:00:00", "'%d-%m-%Y %H:%M:%S'");
        check("2026/11/22", "'%Y/%m/%d'");
        check("2026-1-2", "'%Y-%m-%d'");
        check("20261122", "'%Y%m%d'");
        check("03/04/2026", "two ways: give --date-format '%d/%m/%Y' or '%m/%d/%Y'");
        check("03.04.2026 10:00", "two ways");
        check("46348", "day number");
        check("46348.4166667", "day number");
        check("991", "must be a date");
        check("", "is empty");
    }

    #[test]
    fn a_format_and_a_zone_say_how_a_time_is_meant() {
        let check = |zone: &str, format: Option<&str>, text: &str, at: &str, written: &str| {
            let moment = moments(zone, format).parse(text).expect(text);
            assert_eq!((moment.at.to_string().as_str(), moment.written.as_str()), (at, written), "{text}");
        };
        let berlin = "Europe/Berlin";
        check(berlin, Some("%d.%m.%Y"), "03.04.2026", "2026-04-02T22:00:00Z", "2026-04-03T00:00:00");
        check(berlin, Some("%d/%m/%y %H:%M"), "3/4/26 10:00", "2026-04-03T08:00:00Z", "2026-04-03T10:00:00");
        check(berlin, Some("%m/%d/%Y %I:%M %p"), "04/03/2026 10:00 PM", "2026-04-03T20:00:00Z", "2026-04-03T22:00:00");
        check(berlin, Some("%d %b %Y"), "3 Apr 2026", "2026-04-02T22:00:00Z", "2026-04-03T00:00:00");
        check(
            berlin,
            Some("%Y-%m-%d %H:%M:%S %z"),
            "2026-04-03 10:00:00 +0100",
            "2026-04-03T09:00:00Z",
            "2026-04-03T09:00:00Z",
        );
        check(berlin, None, "2026-04-03", "2026-04-02T22:00:00Z", "2026-04-03T00:00:00");
        check(berlin, None, "2026-04-03T10:00:00Z", "2026-04-03T10:00:00Z", "2026-04-03T10:00:00Z");
        assert_eq!(moments(berlin, Some("%d.%m.%Y")).parse("2026-04-03"), Err(MomentError::NotAsGiven));
        for wrong in ["", "%H:%M", "%m/%d", "%Q", "dd.mm.yyyy", "%Y-%d"] {
            assert!(wrong.parse::<DateFormat>().is_err(), "{wrong}");
        }
    }
}
