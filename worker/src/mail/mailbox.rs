//! A name and an address as they stand in an email's header.
//!
//! Names are whatever people enrol with: only dots, quotes, commas, any alphabet. Whatever it is, a mail program shows
//! that name, and the header stays one that every server takes.

use lettre::Address;
use lettre::message::Mailbox;
use lettre::message::header::{HeaderName, HeaderValue};
use loyalty_common::EmailAddress;
use loyalty_common::values::Invalid;

/// A member's name, if there is anything in it to be seen, and address, its domain as every server knows it.
pub(crate) fn of_member(name: Option<&str>, address: &str) -> Result<Mailbox, Invalid> {
    let address = EmailAddress::parse(address)?;
    let (local, domain) = address.in_ascii();
    // Where a header is broken into lines, white space is nothing to build on.
    let name = name.map(|name| name.split_whitespace().collect::<Vec<_>>().join(" "));
    // It was checked by rules of our own; lettre's turn some away.
    Ok(Mailbox::new(name.filter(|name| !name.is_empty()), Address::new_dangerous(local, domain)))
}

/// What must stand in the header of this name instead of what lettre writes, if anything: a name with a dot is none
/// without quotes (RFC 5322, 3.2.3), and lettre sets none around one that is letters, digits and dots.
pub(crate) fn quoted(header: &'static str, mailbox: &Mailbox) -> Option<HeaderValue> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name = mailbox.name.as_ref().filter(|name| name.contains('.') && name.chars().all(plain))?;
    let value = format!("\"{name}\" <{}>", mailbox.email);
    Some(HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str(header), value.clone(), value))
}
