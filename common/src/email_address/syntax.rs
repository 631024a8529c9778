//! What an email address must be so that a server could take it: a dot-atom before the `@` (RFC 5322, 3.2.3, and beyond
//! ASCII RFC 6531), a host's name after it. Whether somebody reads what is sent there, only the server knows.
//!
//! Names beyond ASCII are checked and translated as IDNA says: to a server, `bücher.example` is
//! `xn--bcher-kva.example`.

use std::borrow::Cow;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::EMAIL_MAX_BYTES;
use crate::values::Invalid;

/// The longest part before the `@` (RFC 5321, 4.5.3.1.1), in bytes.
pub(crate) const LOCAL_MAX_BYTES: usize = 64;

/// The longest part of a name between two dots (RFC 1035, 2.3.4).
pub(crate) const LABEL_MAX_BYTES: usize = 63;

/// Has a meaning of its own in an address, and so cannot stand in one as it is.
const SPECIALS: &str = "<>(),;:\"[]\\@";

/// Says what is wrong with an address, if anything is.
pub(crate) fn check(text: &str) -> Result<(), Invalid> {
    let (local, domain) = split(text).ok_or_else(|| wrong("it has no `@` with something before and after it"))?;
    if text.len() > EMAIL_MAX_BYTES {
        return Err(wrong("it is longer"));
    }
    check_local(local)?;
    check_domain(domain)?;
    let in_ascii = domain_in_ascii(domain)?;
    if local.len() + "@".len() + in_ascii.len() > EMAIL_MAX_BYTES {
        return Err(wrong("it is longer once its domain is written in ASCII"));
    }
    Ok(())
}

/// The parts before and after the last `@`, both of them there.
pub(crate) fn split(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once('@').filter(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

/// The domain as every mail server knows it.
pub(crate) fn domain_in_ascii(domain: &str) -> Result<Cow<'_, str>, Invalid> {
    if domain.is_ascii() {
        return Ok(Cow::Borrowed(domain));
    }
    let translated =
        Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::URL, Hyphens::CheckFirstLast, DnsLength::Verify);
    let in_ascii = translated.map_err(|_| wrong("its domain is no internationalised domain name"))?;
    // Some characters stand for ASCII ones that no name may have.
    check_domain(&in_ascii)?;
    Ok(in_ascii)
}

fn check_local(local: &str) -> Result<(), Invalid> {
    if local.len() > LOCAL_MAX_BYTES {
        return Err(wrong("the part before the `@` is longer than 64 bytes"));
    }
    if local.chars().any(|c| c.is_control() || c.is_whitespace() || SPECIALS.contains(c)) {
        return Err(wrong("a character before the `@` is not allowed there"));
    }
    if local.split('.').any(str::is_empty) {
        return Err(wrong("before the `@`, a dot must stand between two other characters"));
    }
    Ok(())
}

/// An underscore is allowed: it is in no standard, and in some names.
fn check_domain(domain: &str) -> Result<(), Invalid> {
    let allowed = |c: char| {
        if c.is_ascii() {
            c.is_ascii_alphanumeric() || "-_.".contains(c)
        } else {
            !c.is_control() && !c.is_whitespace()
        }
    };
    if !domain.chars().all(allowed) {
        return Err(wrong("a character after the `@` is not allowed there"));
    }
    for label in domain.split('.') {
        if label.is_empty() {
            return Err(wrong("after the `@`, a dot must stand between two other characters"));
        }
        if label.chars().count() > LABEL_MAX_BYTES {
            return Err(wrong("after the `@`, there are more than 63 characters without a dot"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(wrong("after the `@`, a hyphen must stand between two letters or digits"));
        }
    }
    Ok(())
}

fn wrong(problem: &str) -> Invalid {
    Invalid::new(format!("must be an email address of at most 254 bytes, such as ann@example.com: {problem}"))
}
