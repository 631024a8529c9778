//! The smaller values of a command: points, free text, addresses. Each can only be made by the check that its
//! place in the contract asks for.

use std::fmt;

use serde::Serialize;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Points(i64);

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
        // `i64` would also take "+5"; the contract's amounts are plain digits.
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        Self::try_new(if digits { text.parse().unwrap_or(0) } else { 0 })
    }
}

/// The longest free text of a command in bytes: reason, source reference, name. Part of the contract.
pub const TEXT_MAX_BYTES: usize = 200;

/// Free text, 1 to 200 bytes without control characters (which PostgreSQL or a mail header would refuse).
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

/// The longest mail address in bytes (RFC 5321, 4.5.3.1.3, less the angle brackets).
pub const EMAIL_MAX_BYTES: usize = 254;

/// A mail address that looks like one. Whether it is one, only its mail server knows.
///
/// Neither `Debug` nor `Display` shows it: logs must never hold an address.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// The address, if it has the shape `local@domain`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let shaped = text.rsplit_once('@').is_some_and(|(local, domain)| {
            (1..=64).contains(&local.len()) && !domain.is_empty() && !domain.starts_with('.') && !domain.ends_with('.')
        });
        let plain = text.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"<>(),;:\"[]\\".contains(c));
        if shaped && plain && text.len() <= EMAIL_MAX_BYTES && text.matches('@').count() == 1 {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("must be a mail address of at most 254 bytes, such as ann@example.com"))
        }
    }

    /// The address itself. Keep it out of logs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The address with its person hidden, for logs: `a***@example.com`.
    pub fn masked(&self) -> String {
        mask(&self.0)
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl std::str::FromStr for EmailAddress {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

/// Hides every mail address in a text: the first letter and the domain stay. For error texts of other systems,
/// which like to quote the address that they refused.
pub fn mask(text: &str) -> String {
    text.split_inclusive(|c: char| c.is_whitespace() || "<>,;:()\"'".contains(c)).map(mask_word).collect()
}

fn mask_word(word: &str) -> String {
    match word.rsplit_once('@') {
        Some((local, domain)) => {
            let first: String = local.chars().take(1).collect();
            format!("{first}***@{domain}")
        }
        None => word.to_owned(),
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
    fn an_address_is_never_shown() {
        let address = EmailAddress::parse("ann.smith@example.com").expect("a valid address");
        assert_eq!(format!("{address:?}"), "a***@example.com");
        assert_eq!(mask("550 no such user <ann@example.com>: gone"), "550 no such user <a***@example.com>: gone");
    }

    #[test]
    fn an_address_has_a_local_part_and_a_domain() {
        let check = |text: &str, fits: bool| assert_eq!(EmailAddress::parse(text).is_ok(), fits, "{text:?}");
        check("ann@example.com", true);
        check("o'neil+shop@mail.example.co.uk", true);
        for wrong in
            ["", "ann", "@example.com", "ann@", "a b@example.com", "a@b@c.de", "a\r\nb@example.com", "<a@b.de>"]
        {
            check(wrong, false);
        }
    }
}
