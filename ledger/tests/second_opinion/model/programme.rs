//! What a shop has set (5), and the days that follow from it.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::purse::Expires;

#[derive(Clone, Debug)]
pub(crate) struct Programme {
    /// 0: no rewards.
    pub(crate) milestone: i64,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) grace_days: i64,
    pub(crate) when_short: WhenShort,
}

#[derive(Clone, Debug)]
pub(crate) struct Expiry {
    pub(crate) after: After,
    pub(crate) round_up: RoundUp,
    pub(crate) zone: TimeZone,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum After {
    Days(i64),
    Months(i64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum RoundUp {
    None,
    Month,
    Quarter,
    Year,
}

/// What a reversal does that finds fewer points than it takes back (4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenShort {
    Debt,
    Refuse,
}

impl Programme {
    /// When points expire that are credited now (5).
    pub(crate) fn expiry_of_credit(&self, effective: Timestamp) -> Expires {
        let Some(expiry) = &self.expiry else { return Expires::Never };
        let day = match expiry.after {
            After::Days(days) => days_later(self.day(effective), days),
            After::Months(months) => months_later(self.day(effective), months),
        };
        self.end_of(rounded_up(day, expiry.round_up))
    }

    /// When points expire that come back after their day (4).
    pub(crate) fn expiry_of_grace(&self, effective: Timestamp) -> Expires {
        self.end_of(days_later(self.day(effective), self.grace_days))
    }

    fn day(&self, at: Timestamp) -> Date {
        at.to_zoned(self.zone()).date()
    }

    /// Without expiry no zone is set: days that an earlier programme has given get theirs of grace in UTC.
    fn zone(&self) -> TimeZone {
        self.expiry.as_ref().map_or(TimeZone::UTC, |expiry| expiry.zone.clone())
    }

    /// The first instant after the day, in the zone (2).
    fn end_of(&self, day: Date) -> Expires {
        let next = days_later(day, 1).to_zoned(self.zone()).expect("a time of a few years");
        Expires::At(next.timestamp())
    }
}

fn days_later(day: Date, days: i64) -> Date {
    (0..days).fold(day, |day, _| day.tomorrow().expect("a day of a few years"))
}

/// The same day of a later month, or the last of a month that is too short for it.
fn months_later(day: Date, months: i64) -> Date {
    let mut first = day.first_of_month();
    for _ in 0..months {
        first = first.last_of_month().tomorrow().expect("a day of a few years");
    }
    let last = first.days_in_month();
    Date::new(first.year(), first.month(), day.day().min(last)).expect("the month has the day")
}

fn rounded_up(day: Date, to: RoundUp) -> Date {
    let month = match to {
        RoundUp::None => return day,
        RoundUp::Month => day.month(),
        RoundUp::Quarter => match day.month() {
            ..=3 => 3,
            4..=6 => 6,
            7..=9 => 9,
            10.. => 12,
        },
        RoundUp::Year => 12,
    };
    Date::new(day.year(), month, 1).expect("a month begins").last_of_month()
}
