//! When points expire: the day that a credit gets, in the shop's time zone.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Span, Timestamp, ToSpan};
use loyalty_common::string_enum;
use loyalty_common::values::Invalid;
use serde::{Deserialize, Serialize};

/// When points expire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    pub after: Validity,
    pub round_up: RoundUp,
    /// Where days begin and end.
    pub zone: Zone,
    /// How many days before it members are warned.
    pub warn_days: u16,
}

string_enum! {
    /// To the end of what the day is rounded up.
    pub enum RoundUp {
        /// It stays.
        None = "none",
        /// To the last day of its month.
        Month = "month",
        /// To the last day of its quarter.
        Quarter = "quarter",
        /// To the last day of its year.
        Year = "year",
    }
}

/// The last day on which points can be spent, and its end, which is what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LotDay {
    /// The first instant after the day, in the zone that the programme had at the credit.
    pub expires_at: Timestamp,
    pub expires_on: Date,
}

impl Expiry {
    /// The day of points that are credited at this time.
    pub fn lot_day(&self, effective: Timestamp) -> LotDay {
        let day = self.zone.date(effective).saturating_add(self.after.span());
        self.zone.lot_day(self.round_up.last_day(day))
    }
}

impl RoundUp {
    fn last_day(self, day: Date) -> Date {
        let month = match self {
            Self::None => return day,
            Self::Month => day.month(),
            Self::Quarter => (day.month() + 2) / 3 * 3,
            Self::Year => 12,
        };
        Date::new(day.year(), month, 1).expect("each year has each month").last_of_month()
    }
}

/// For how long points can be spent: `365d`, `12 months`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Validity {
    Days(u16),
    Months(u16),
}

/// A century: who wants more switches expiry off.
const DAYS_MAX: u16 = 36_525;
const MONTHS_MAX: u16 = 1_200;

impl Validity {
    fn span(self) -> Span {
        match self {
            Self::Days(days) => i32::from(days).days(),
            Self::Months(months) => i32::from(months).months(),
        }
    }
}

impl FromStr for Validity {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number = |digits: &str, max: u16| {
            let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|number| is_plain && (1..=max).contains(number))
        };
        let months = || text.strip_suffix(" months").or_else(|| text.strip_suffix(" month"));
        let validity = match text.strip_suffix('d') {
            Some(days) => number(days, DAYS_MAX).map(Self::Days),
            None => months().and_then(|months| number(months, MONTHS_MAX)).map(Self::Months),
        };
        validity.ok_or_else(|| Invalid::new("must be days or months of at most a century, such as 365d or 12 months"))
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(days) => write!(f, "{days}d"),
            Self::Months(months) => write!(f, "{months} months"),
        }
    }
}

impl TryFrom<String> for Validity {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Validity> for String {
    fn from(validity: Validity) -> Self {
        validity.to_string()
    }
}

/// A time zone by its IANA name. Its rules are those that this release was built with, wherever it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(TimeZone);

impl Zone {
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The day of an instant there.
    pub fn date(&self, at: Timestamp) -> Date {
        self.0.to_datetime(at).date()
    }

    /// The day that is over so many days after that of an instant.
    pub(crate) fn day_after(&self, at: Timestamp, days: u16) -> LotDay {
        self.lot_day(self.date(at).saturating_add(i32::from(days).days()))
    }

    /// The day whose end is this instant.
    pub fn day_ending(&self, expires_at: Timestamp) -> LotDay {
        LotDay { expires_at, expires_on: self.date(expires_at - jiff::SignedDuration::from_nanos(1)) }
    }

    /// A day and its end. Beyond the calendar there is none that anybody lives to see.
    fn lot_day(&self, expires_on: Date) -> LotDay {
        let next = expires_on.tomorrow().and_then(|next| self.0.to_timestamp(next.at(0, 0, 0, 0)));
        LotDay { expires_at: next.unwrap_or(Timestamp::MAX), expires_on }
    }
}

impl FromStr for Zone {
    type Err = Invalid;

    fn from_str(name: &str) -> Result<Self, Invalid> {
        let zone = TimeZoneDatabase::bundled().get(name);
        zone.map(Self).map_err(|_| Invalid::new("must be the IANA name of a time zone, such as Europe/Berlin"))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl TryFrom<String> for Zone {
    type Error = Invalid;

    fn try_from(name: String) -> Result<Self, Invalid> {
        name.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(after: &str, round_up: RoundUp, zone: &str) -> Expiry {
        let parsed = |text: &str| text.parse().expect("a zone");
        Expiry { after: after.parse().expect("a validity"), round_up, zone: parsed(zone), warn_days: 30 }
    }

    #[test]
    fn the_day_is_counted_in_the_zone_and_ends_with_it() {
        let check = |expiry: &Expiry, credited: &str, expires_on: &str, expires_at: &str| {
            let day = expiry.lot_day(credited.parse().expect("a time"));
            assert_eq!(
                (day.expires_on.to_string().as_str(), day.expires_at.to_string().as_str()),
                (expires_on, expires_at)
            );
        };
        let days = expiry("30d", RoundUp::None, "UTC");
        check(&days, "2026-01-01T00:00:00Z", "2026-01-31", "2026-02-01T00:00:00Z");
        check(&days, "2026-01-01T23:59:59.999999Z", "2026-01-31", "2026-02-01T00:00:00Z");
        let berlin = expiry("30d", RoundUp::None, "Europe/Berlin");
        check(&berlin, "2025-12-31T23:00:00Z", "2026-01-31", "2026-01-31T23:00:00Z");
        check(&berlin, "2026-03-01T12:00:00Z", "2026-03-31", "2026-03-31T22:00:00Z");
        let months = expiry("12 months", RoundUp::Year, "UTC");
        check(&months, "2025-03-15T12:00:00Z", "2026-12-31", "2027-01-01T00:00:00Z");
        check(&expiry("1 months", RoundUp::None, "UTC"), "2026-01-31T12:00:00Z", "2026-02-28", "2026-03-01T00:00:00Z");
        check(&expiry("1d", RoundUp::Month, "UTC"), "2028-01-31T12:00:00Z", "2028-02-29", "2028-03-01T00:00:00Z");
        for (credited, expires_on) in [("2026-03-30", "2026-03-31"), ("2026-03-31", "2026-06-30")] {
            let next = if expires_on == "2026-03-31" { "2026-04-01T00:00:00Z" } else { "2026-07-01T00:00:00Z" };
            check(&expiry("1d", RoundUp::Quarter, "UTC"), &format!("{credited}T08:00:00Z"), expires_on, next);
        }
        // On that day the clocks of Asunción went from midnight to one o'clock: its first instant is one o'clock.
        let gap = expiry("1d", RoundUp::None, "America/Asuncion");
        check(&gap, "2023-09-29T12:00:00Z", "2023-09-30", "2023-10-01T04:00:00Z");
    }

    #[test]
    fn what_ends_with_an_instant_is_its_day() {
        for zone in ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland"] {
            let expiry = expiry("30d", RoundUp::None, zone);
            let day = expiry.lot_day(Timestamp::UNIX_EPOCH);
            assert_eq!(expiry.zone.day_ending(day.expires_at), day, "{zone}");
        }
    }

    #[test]
    fn an_expiry_is_written_as_it_is_read() {
        for text in ["1d", "365d", "36525d", "12 months", "1200 months"] {
            assert_eq!(text.parse::<Validity>().expect(text).to_string(), text);
        }
        for wrong in ["", "d", "0d", "+1d", "36526d", "12", "1201 months", "months", "1 year", "12months"] {
            assert!(wrong.parse::<Validity>().is_err(), "{wrong}");
        }
        let programme = expiry("12 months", RoundUp::Month, "Europe/Berlin");
        let text = serde_json::to_string(&programme).expect("it is data");
        assert_eq!(text, r#"{"after":"12 months","round_up":"month","zone":"Europe/Berlin","warn_days":30}"#);
        assert_eq!(serde_json::from_str::<Expiry>(&text).expect("its own text"), programme);
        assert!("Europe/Atlantis".parse::<Zone>().is_err());
    }
}
