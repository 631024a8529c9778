//! From an amount of money to points, exactly: decimal digits all the way, no floating point, rounded down once.

use loyalty_common::Points;
use loyalty_common::text::{Invalid, POINTS_MAX};

/// A number without sign, as it is written: its digits, and how many of them come after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    digits: u128,
    scale: u32,
}

/// The most digits of one number: the product of two such numbers fits a `u128`. More digits than money has.
const DIGITS_MAX: usize = 18;

/// Why an amount is none. The texts never quote it: a wrong column may hold an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AmountError {
    /// There is nothing.
    #[error("the amount is empty")]
    Empty,
    /// It begins with a minus.
    #[error("the amount is negative; a return is not an earn")]
    Negative,
    /// It has anything but digits and a point.
    #[error("the amount must be plain digits with at most one decimal point, such as 29.33")]
    NotPlain,
    /// It has more digits than are computed exactly.
    #[error("the amount has more than 18 digits")]
    TooLong,
    /// It is worth less than a point.
    #[error("the amount is too small to earn a point")]
    NoPoint,
    /// It is worth more than one command may carry.
    #[error("the amount earns more than 1000000000000 points")]
    TooManyPoints,
}

impl Decimal {
    /// The number of a text. Thousands separators are refused rather than guessed at: "1,234" is a thousand here and
    /// one and a bit there.
    pub(super) fn parse(text: &str) -> Result<Self, AmountError> {
        if text.is_empty() {
            return Err(AmountError::Empty);
        }
        if text.starts_with('-') {
            return Err(AmountError::Negative);
        }
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(AmountError::NotPlain),
            None => (text, ""),
        };
        let is_plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_plain(whole) || !is_plain(fraction) {
            return Err(AmountError::NotPlain);
        }
        if whole.len() + fraction.len() > DIGITS_MAX {
            return Err(AmountError::TooLong);
        }
        let digits = whole.bytes().chain(fraction.bytes()).fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0'));
        let scale = u32::try_from(fraction.len()).expect("at most 18 digits");
        Ok(Self { digits, scale })
    }

    /// Whether it is 0.
    pub(super) const fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// The points of this amount at so many points for each unit of it, rounded down.
    pub(super) fn points(self, rate: Self) -> Result<Points, AmountError> {
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
        let rate = Self::parse(text).ok().filter(|rate| !rate.is_zero());
        rate.ok_or_else(|| Invalid::new("must be a positive decimal number of at most 18 digits, such as 10 or 0.5"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(amount: &str, rate: &str) -> Result<i64, AmountError> {
        Decimal::parse(amount)?.points(Decimal::parse(rate)?).map(Points::get)
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
        check(".5", "2", 1);
        check("007", "1", 7);
        check("999999999999.999999", "1", 999_999_999_999);
        check("1000000000000", "1", POINTS_MAX);
        check("0.00000000000000002", "50000000000000000", 1);
    }

    #[test]
    fn what_is_no_amount_says_what_is_allowed() {
        let check = |amount: &str, expected: AmountError| assert_eq!(points(amount, "10"), Err(expected), "{amount}");
        check("", AmountError::Empty);
        check("-5.00", AmountError::Negative);
        for wrong in ["1,234.50", "12,50", "+5", "5.", ".", "1.2.3", "1e3", "$5", "5 ", "ten", "٣", "NaN", "0x10", "−5"]
        {
            check(wrong, AmountError::NotPlain);
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
        for wrong in ["0", "0.0", "-1", "", "ten", "1,5"] {
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
