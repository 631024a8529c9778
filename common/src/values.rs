//! The smaller values of a command: points, numbers of rewards, free text. Each can only be made by the check that its
//! place in the contract asks for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a value was refused, in words that say what is allowed. Never contains the value: it may be personal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Invalid {
    /// An error that says what is allowed.
    pub fn new(allowed: impl Into<String>) -> Self {
        Self(allowed.into())
    }
}

/// The most points of one command. Part of the contract.
pub const POINTS_MAX: i64 = 1_000_000_000_000;

/// A positive amount of points, 1 to 10^12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Points(i64);

impl TryFrom<i64> for Points {
    type Error = Invalid;

    fn try_from(amount: i64) -> Result<Self, Invalid> {
        Self::try_new(amount)
    }
}

impl Points {
    /// The amount, if it is within bounds.
    pub fn try_new(amount: i64) -> Result<Self, Invalid> {
        if (1..=POINTS_MAX).contains(&amount) {
            Ok(Self(amount))
        } else {
            Err(Invalid::new("must be an integer from 1 to 1000000000000"))
        }
    }

    /// The amount.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Points {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::try_new(if is_digits(text) { text.parse().unwrap_or(0) } else { 0 })
    }
}

/// Points to add or, negative, to take: -10^12 to 10^12, and not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SignedPoints(i64);

impl SignedPoints {
    /// The amount, if it is within bounds.
    pub fn try_new(amount: i64) -> Result<Self, Invalid> {
        if amount != 0 && (-POINTS_MAX..=POINTS_MAX).contains(&amount) {
            Ok(Self(amount))
        } else {
            Err(Invalid::new("must be an integer from -1000000000000 to 1000000000000, and not 0"))
        }
    }

    /// The amount.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl std::str::FromStr for SignedPoints {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::try_new(if is_digits(text.strip_prefix('-').unwrap_or(text)) { text.parse().unwrap_or(0) } else { 0 })
    }
}

/// The highest number of a reward. Part of the contract.
pub const REWARD_NUMBER_MAX: i64 = 1_000_000;

/// The number of a reward in its membership, 1 to 10^6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RewardNumber(i64);

impl RewardNumber {
    /// The number, if it is within bounds.
    pub fn try_new(number: i64) -> Result<Self, Invalid> {
        if (1..=REWARD_NUMBER_MAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(Invalid::new("must be an integer from 1 to 1000000"))
        }
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl std::str::FromStr for RewardNumber {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::try_new(if is_digits(text) { text.parse().unwrap_or(0) } else { 0 })
    }
}

/// Whether a text is plain digits, which `i64` alone would not say: it would also take "+5".
fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The longest free text of a command in bytes: reason, source reference, name. Part of the contract.
pub const TEXT_MAX_BYTES: usize = 200;

/// Free text, 1 to 200 bytes without control characters (which PostgreSQL or an email header would refuse).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Text(String);

impl Text {
    /// The text, if it fits.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let length_fits = (1..=TEXT_MAX_BYTES).contains(&text.len());
        if length_fits && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("must be 1 to 200 bytes of UTF-8 without control characters"))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Text {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_plain_digits_within_bounds() {
        let check = |text: &str, amount: Option<i64>| {
            assert_eq!(text.parse::<Points>().ok().map(Points::get), amount, "{text:?}");
        };
        check("1", Some(1));
        check("1000000000000", Some(POINTS_MAX));
        for wrong in ["0", "-1", "1.5", "+5", "", "1000000000001", "99999999999999999999", "ten", " 5"] {
            check(wrong, None);
        }
    }

    #[test]
    fn an_adjustment_has_a_sign_and_is_not_nothing() {
        let check = |text: &str, amount: Option<i64>| {
            assert_eq!(text.parse::<SignedPoints>().ok().map(SignedPoints::get), amount, "{text:?}");
        };
        check("5", Some(5));
        check("-5", Some(-5));
        check("-1000000000000", Some(-POINTS_MAX));
        for wrong in ["0", "-0", "--5", "+5", "-", "", "-1000000000001", "1000000000001", "1.5"] {
            check(wrong, None);
        }
    }
}
