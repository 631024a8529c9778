//! Who emails are from: checked at start as far as we can, and by the server's word once it is reached.
//!
//! A sender that the server refuses is nothing that one email could help: it is told of once, loudly, and the emails
//! wait.

use std::sync::atomic::{AtomicBool, Ordering};

use lettre::Address;
use lettre::message::Mailbox;
use loyalty_common::EmailAddress;
use loyalty_common::values::Invalid;
use tracing::{error, info};

use super::outcome::{Attempted, Failure, Note, Outcome, Phase, judge};
use super::reply::Reply;

/// The sender of a shop, with its domain as every server knows it.
pub(crate) fn parse(text: &str) -> Result<Mailbox, SenderError> {
    let mailbox: Mailbox = text.parse().map_err(SenderError::Form)?;
    let address = EmailAddress::parse(mailbox.email.as_ref()).map_err(SenderError::Address)?;
    let (local, domain) = address.in_ascii();
    if !local.is_ascii() {
        return Err(SenderError::BeyondAscii);
    }
    Ok(Mailbox::new(mailbox.name, Address::new_dangerous(local, domain)))
}

/// Why nobody can send emails by that name.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// It is not a name and an address.
    #[error(
        "mail.from must be an address such as `Corner Café <rewards@cafe.example>`; a name with other signs than \
         letters stands in quotes: `\"Shop (Berlin)\" <rewards@shop.example>`"
    )]
    Form(#[source] lettre::address::AddressError),
    /// Its address is none that a server could take.
    #[error("the address in mail.from {0}")]
    Address(Invalid),
    /// Most of the members' servers would refuse it, whatever the shop's own says.
    #[error(
        "the part before the `@` in mail.from must be ASCII: mail servers without SMTPUTF8 take no other; \
         the domain and the name may have any letters"
    )]
    BeyondAscii,
}

/// Whether the server takes emails of our sender, as far as we know.
#[derive(Debug, Default)]
pub(crate) struct SenderStatus {
    refused: AtomicBool,
}

impl SenderStatus {
    /// Takes note of an answer to `MAIL FROM`, and tells when it is not what it was.
    pub(crate) fn note(&self, answer: &Result<Reply, (Phase, Failure)>) {
        match answer.as_ref().map_err(|(phase, failure)| judge(*phase, failure)) {
            Ok(_) => {
                if self.refused.swap(false, Ordering::Relaxed) {
                    info!("The mail server accepts the sender again; waiting emails are sent when they are due");
                }
            }
            Err(Attempted { outcome, note }) => match outcome {
                Outcome::SenderRefused => self.refused(&note),
                // These say nothing about the sender.
                Outcome::Sent | Outcome::Passing | Outcome::Permanent | Outcome::Unknown => {}
            },
        }
    }

    fn refused(&self, why: &Note) {
        if !self.refused.swap(true, Ordering::Relaxed) {
            error!(
                %why,
                "The mail server refuses the sender; all emails wait. Set mail.from to an address that \
                 it lets this user send from, or allow it there, and restart"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_an_address_that_every_server_can_take() {
        let check = |text: &str, address: &str| assert_eq!(parse(text).expect(text).email.to_string(), address);
        check("Corner Café <rewards@cafe.example>", "rewards@cafe.example");
        check("Shop <rewards@bücher.example.com>", "rewards@xn--bcher-kva.example.com");
        check("rewards@localhost", "rewards@localhost");
        for wrong in ["nobody", "Shop <rewärds@example.com>", "a..b@example.com", "Shop <a@example..com>", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let error = parse("Shop <rewärds@example.com>").expect_err("beyond ASCII").to_string();
        assert!(error.contains("mail.from must be ASCII"), "{error}");
    }
}
