//! From an amount of money to points, exactly: decimal digits all the way, no floating point, rounded down once.
//!
//! A number that two countries read differently is refused until `--decimal` says which is meant.

use loyalty_common::Points;
use loyalty_common::values::{Invalid, POINTS_MAX};

/// An amount of a file. Below 0 it is money that went back, or points that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount {
    is_negative: bool,
    size: Decimal,
}

/// A number without sign, as it is written: its digits, and how many of them come after the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    digits: u128,
    scale: u32,
}

/// What stands before the fraction of an amount; the other one may then stand between its thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DecimalMark {
    Point,
    Comma,
}

/// The most digits of one number: the product of two such numbers fits a `u128`. More digits than money has.
const DIGITS_MAX: usize = 18;

/// What stands between thousands whatever the mark is: apostrophes and spaces, also those that do not break.
const NEUTRAL_SEPARATORS: [char; 5] = ['\'', '\u{2019}', ' ', '\u{a0}', '\u{202f}'];

/// Digits between two separators of thousands.
const GROUP_DIGITS: usize = 3;

/// Why an amount is none. The texts never quote it: a wrong column may hold an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AmountError {
    /// There is nothing.
    #[error("the amount is empty")]
    Empty,
    /// It has anything but digits, a mark and separators, or these in wrong places.
    #[error("the amount must be digits with at most one decimal point or comma, such as 29.33 or 1,234.50")]
    NotPlain,
    /// Its separator may be a decimal mark, or stand between thousands.
    #[error("the amount can be read two ways: give --decimal . or --decimal ,")]
    TwoReadings,
    /// It has more digits than are computed exactly.
    #[error("the amount has more than 18 digits")]
    TooLong,
    /// It is worth less than a point.
    #[error("the amount is too small for a point")]
    NoPoint,
    /// It is worth more than one command may carry.
    #[error("the amount is worth more than 1000000000000 points")]
    TooManyPoints,
}

impl Amount {
    /// Reads an amount.
    pub(super) fn parse(text: &str, mark: Option<DecimalMark>) -> Result<Self, AmountError> {
        if text.is_empty() {
            return Err(AmountError::Empty);
        }
        let (has_minus, size) = without_minus(text);
        let size = Decimal::parse(size, mark)?;
        Ok(Self { is_negative: has_minus && !size.is_zero(), size })
    }

    pub(super) const fn is_negative(self) -> bool {
        self.is_negative
    }

    /// The same number in the one form that all its spellings share.
    pub(super) fn normalized(self) -> String {
        let sign = if self.is_negative { "-" } else { "" };
        format!("{sign}{}", self.size.normalized())
    }

    /// The points of this amount, whatever its sign, at so many points for each unit of it, rounded down.
    pub(super) fn points(self, rate: Decimal) -> Result<Points, AmountError> {
        self.size.points(rate)
    }
}

impl Decimal {
    fn parse(text: &str, mark: Option<DecimalMark>) -> Result<Self, AmountError> {
        if let Some(mark) = mark {
            return Self::with_mark(text, mark);
        }
        match (Self::with_mark(text, DecimalMark::Point), Self::with_mark(text, DecimalMark::Comma)) {
            (Ok(point), Ok(comma)) if point != comma => Err(AmountError::TwoReadings),
            (Ok(only), _) | (Err(AmountError::NotPlain), Ok(only)) => Ok(only),
            (Err(AmountError::NotPlain), Err(error)) | (Err(error), _) => Err(error),
        }
    }

    fn with_mark(text: &str, mark: DecimalMark) -> Result<Self, AmountError> {
        let (mark, other) = match mark {
            DecimalMark::Point => ('.', ','),
            DecimalMark::Comma => (',', '.'),
        };
        let (whole, fraction) = match text.split_once(mark) {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(AmountError::NotPlain),
            None if text.is_empty() => return Err(AmountError::NotPlain),
            None => (text, ""),
        };
        let whole = without_separators(whole, other).ok_or(AmountError::NotPlain)?;
        if !is_plain(fraction) {
            return Err(AmountError::NotPlain);
        }
        if whole.len() + fraction.len() > DIGITS_MAX {
            return Err(AmountError::TooLong);
        }
        let digits = whole.bytes().chain(fraction.bytes()).fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0'));
        let scale = u32::try_from(fraction.len()).expect("at most 18 digits");
        Ok(Self { digits, scale })
    }

    /// 12.5 for 12.50 and 012,50.
    fn normalized(mut self) -> String {
        while self.scale > 0 && self.digits.is_multiple_of(10) {
            self.digits /= 10;
            self.scale -= 1;
        }
        format!("{}e-{}", self.digits, self.scale)
    }

    const fn is_zero(self) -> bool {
        self.digits == 0
    }

    fn points(self, rate: Self) -> Result<Points, AmountError> {
        let points = self.digits * rate.digits / 10_u128.pow(self.scale + rate.scale);
        match i64::try_from(points) {
            Ok(0) => Err(AmountError::NoPoint),
            Ok(points @ ..=POINTS_MAX) => Points::try_new(points).map_err(|_| AmountError::TooManyPoints),
            Ok(_) | Err(_) => Err(AmountError::TooManyPoints),
        }
    }
}

/// For `--rate`.
impl std::str::FromStr for Decimal {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let rate = Self::with_mark(text, DecimalMark::Point).ok().filter(|_| !text.contains([',', ' ', '\'']));
        let rate = rate.filter(|rate| !rate.is_zero());
        rate.ok_or_else(|| Invalid::new("must be a positive decimal number of at most 18 digits, such as 10 or 0.5"))
    }
}

/// For `--decimal`.
impl std::str::FromStr for DecimalMark {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "." => Ok(Self::Point),
            "," => Ok(Self::Comma),
            _ => Err(Invalid::new("must be . or ,")),
        }
    }
}

fn is_plain(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// What is left of a number without its minus, which stands before or behind it, or is the parentheses of book-keepers.
fn without_minus(text: &str) -> (bool, &str) {
    let minus = ['-', '\u{2212}'];
    let in_parentheses = || text.strip_prefix('(')?.strip_suffix(')');
    let size = text.strip_prefix(minus).or_else(|| text.strip_suffix(minus)).or_else(in_parentheses);
    size.map_or((false, text), |size| (true, size.trim()))
}

/// The digits of a number's whole part, if its thousands are apart by one kind of separator and throughout, or not at
/// all. No number begins its thousands with 0: in 0.125 the point is a mark.
fn without_separators(whole: &str, other_mark: char) -> Option<String> {
    let is_separator = |char: char| char == other_mark || NEUTRAL_SEPARATORS.contains(&char);
    let Some(separator) = whole.chars().find(|char| is_separator(*char)) else {
        return is_plain(whole).then(|| whole.to_owned());
    };
    let mut groups = whole.split(separator);
    let first = groups.next()?;
    let well_begun = (1..=GROUP_DIGITS).contains(&first.len()) && is_plain(first) && !first.starts_with('0');
    let well_formed = well_begun && groups.all(|group| group.len() == GROUP_DIGITS && is_plain(group));
    well_formed.then(|| whole.replace(separator, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(amount: &str, rate: &str) -> Result<i64, AmountError> {
        Amount::parse(amount, None)?.points(rate.parse().expect("a rate")).map(Points::get)
    }

    #[test]
    fn points_are_exact_and_rounded_down() {
        let check =
            |amount: &str, rate: &str, expected: i64| assert_eq!(points(amount, rate), Ok(expected), "{amount}");
        check("29.33", "10", 293);
        check("0.1", "10", 1);
        // 0.29 * 100 is 28.999999999999996 in floating point.
        check("0.29", "100", 29);
        check("1.15", "100", 115);
        check("19.99", "0.5", 9);
        check("-19.99", "0.5", 9);
        check(".5", "2", 1);
        check("007", "1", 7);
        check("999999999999.999999", "1", 999_999_999_999);
        check("1000000000000", "1", POINTS_MAX);
        check("0.00000000000000002", "50000000000000000", 1);
    }

    #[test]
    fn what_has_one_reading_needs_no_flag_and_a_flag_decides_the_rest() {
        let check = |amount: &str, mark: Option<DecimalMark>, expected: Option<&str>| {
            let read = Amount::parse(amount, mark).map(Amount::normalized).ok();
            assert_eq!(read.as_deref(), expected, "{amount} with {mark:?}");
        };
        let (point, comma) = (Some(DecimalMark::Point), Some(DecimalMark::Comma));
        for mark in [None, comma] {
            check("12,50", mark, Some("125e-1"));
            check("1.234,50", mark, Some("12345e-1"));
            check("1 234,50", mark, Some("12345e-1"));
            check("1.234.567", mark, Some("1234567e-0"));
        }
        for mark in [None, point] {
            check("12.5", mark, Some("125e-1"));
            check("1,234.50", mark, Some("12345e-1"));
            check("1'234.50", mark, Some("12345e-1"));
            check("1\u{a0}234\u{a0}567", mark, Some("1234567e-0"));
            check("1234.567", mark, Some("1234567e-3"));
            check("0.125", mark, Some("125e-3"));
        }
        check("15.000", comma, Some("15000e-0"));
        check("15.000", point, Some("15e-0"));
        check("1,234", comma, Some("1234e-3"));
        check("1,234", point, Some("1234e-0"));
        check("12.50", comma, None);
        check("12,50", point, None);
        for mark in [None, point] {
            for negative in ["-20.50", "20.50-", "(20.50)", "\u{2212}20.50", "- 20.5"] {
                check(negative, mark, Some("-205e-1"));
            }
            check("-0.00", mark, Some("0e-0"));
        }
        check("-15.000", None, None);
        check("(1.234,50)", comma, Some("-12345e-1"));
    }

    #[test]
    fn what_is_no_amount_says_what_is_allowed() {
        let check = |amount: &str, expected: AmountError| assert_eq!(points(amount, "10"), Err(expected), "{amount}");
        check("", AmountError::Empty);
        for wrong in [
            "+5",
            "5.",
            ".",
            "1.2.3",
            "1e3",
            "$5",
            "5 ",
            "ten",
            "٣",
            "NaN",
            "0x10",
            "-",
            "()",
            "--5",
            "-5-",
            "(-5)",
            "(5",
            "1,23,456.50",
            ",5,",
            "1.234,",
            "12,345,6",
            "1'23",
            "1.234'567,50",
            "1,234,567.",
            "0,123,456",
        ] {
            check(wrong, AmountError::NotPlain);
        }
        for ambiguous in ["15.000", "1,234", "999.999", "100,000"] {
            check(ambiguous, AmountError::TwoReadings);
        }
        check("1234567890123456789", AmountError::TooLong);
        check("0", AmountError::NoPoint);
        check("0.00", AmountError::NoPoint);
        check("0.09", AmountError::NoPoint);
        check("100000000000.1", AmountError::TooManyPoints);
        check("999999999999999999", AmountError::TooManyPoints);
    }

    #[test]
    fn a_rate_is_positive() {
        for wrong in ["0", "0.0", "-1", "", "ten", "1,5", "1,000", "1 000"] {
            assert!(wrong.parse::<Decimal>().is_err(), "{wrong}");
        }
    }

    proptest! {
        /// Against cents counted as integers, which is what a shop would do by hand.
        #[test]
        fn cents_times_whole_points_agree_with_integers(cents in 0_u64..100_000_000, rate in 1_u64..1_000) {
            let amount = format!("{}.{:02}", cents / 100, cents % 100);
            let expected = cents * rate / 100;
            match points(&amount, &rate.to_string()) {
                Ok(points) => prop_assert_eq!(u64::try_from(points).ok(), Some(expected)),
                Err(error) => prop_assert_eq!((error, expected), (AmountError::NoPoint, 0)),
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = points(&text, "10");
        }
    }
}
