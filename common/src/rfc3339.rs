//! A time on the wire: RFC 3339 and nothing else, within the years that PostgreSQL and jiff both know.

use jiff::Timestamp;
use serde::Serialize;

use crate::values::Invalid;

/// A time in a field of a command, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Moment(Timestamp);

impl Moment {
    /// The time, if it is one.
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let at = if is_rfc_3339(text) { text.parse::<Timestamp>().ok() } else { None };
        at.ok_or_else(Self::invalid).and_then(Self::try_new)
    }

    /// The time, if it is within the years of the contract; cut off to the microsecond.
    pub fn try_new(at: Timestamp) -> Result<Self, Invalid> {
        let is_within = (YEAR_1900..YEAR_9999).contains(&at.as_second());
        if is_within { Ok(Self(to_microseconds(at))) } else { Err(Self::invalid()) }
    }

    fn invalid() -> Invalid {
        Invalid::new("must be an RFC 3339 time of the years 1900 to 9998 in UTC")
    }

    /// The time.
    pub const fn get(self) -> Timestamp {
        self.0
    }
}

/// What PostgreSQL keeps of a point in time: microseconds, cut off. Comparing what was sent with what was stored
/// needs both to be this.
pub fn to_microseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).expect("the microsecond of a timestamp is a timestamp")
}

/// 1900-01-01T00:00:00Z in seconds since 1970. PostgreSQL's calendar begins later than jiff's; nothing was sold before.
const YEAR_1900: i64 = -2_208_988_800;

/// 9999-01-01T00:00:00Z. jiff's calendar ends on the last but one day of that year, which nobody would guess.
const YEAR_9999: i64 = 253_370_764_800;

/// Whether a text has the shape of an RFC 3339 time: `2026-11-22T10:00:00.5+01:00`. jiff reads more than that
/// (`20261122T10Z`, `[Europe/Berlin]`), which other readers of the queue would not. Whether the day exists is not
/// decided here.
pub(crate) fn is_rfc_3339(text: &str) -> bool {
    /// To the nanosecond: what jiff reads.
    const FRACTION_MAX_DIGITS: usize = 9;
    let Some((moment, rest)) = text.split_at_checked("2026-11-22T10:00:00".len()) else { return false };
    let (fraction, offset) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())),
        None => ("0", rest),
    };
    let utc = offset.eq_ignore_ascii_case("z");
    has_shape(moment, "0000-00-00T00:00:00")
        && (1..=FRACTION_MAX_DIGITS).contains(&fraction.len())
        && (utc || has_shape(offset, "+00:00"))
}

/// Whether a text is like a pattern in which `0` stands for any digit, `T` for what may part day and time, and `+` for
/// either sign.
fn has_shape(text: &str, pattern: &str) -> bool {
    let fits = |(byte, like): (u8, u8)| match like {
        b'0' => byte.is_ascii_digit(),
        b'T' => b"Tt ".contains(&byte),
        b'+' => b"+-".contains(&byte),
        other => byte == other,
    };
    text.len() == pattern.len() && text.bytes().zip(pattern.bytes()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_seconds_and_an_offset() {
        for fits in [
            "2026-11-22T10:00:00+01:00",
            "2026-11-22t10:00:00.123456789z",
            "2026-11-22 10:00:00.5-00:00",
            "2026-02-30T25:00:00Z",
        ] {
            assert!(is_rfc_3339(fits), "{fits}");
        }
        for wrong in [
            "2026-11-22",
            "2026-11-22T10:00:00",
            "2026-11-22T10:00Z",
            "20261122T100000Z",
            "2026-11-22T10:00:00,5Z",
            "2026-11-22T10:00:00.Z",
            "2026-11-22T10:00:00.1234567890Z",
            "2026-11-22T10:00:00+01",
            "2026-11-22T10:00:00+0100",
            "2026-11-22T10:00:00+01:00[Europe/Berlin]",
            "+002026-11-22T10:00:00Z",
            "2026-11-22T10:00:0éZ",
        ] {
            assert!(!is_rfc_3339(wrong), "{wrong}");
        }
    }
}
