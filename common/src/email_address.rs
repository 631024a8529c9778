//! The email address of a member, and [`mask`], which keeps addresses out of logs.

pub(crate) mod syntax;

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use crate::values::Invalid;

/// The longest email address in bytes (RFC 5321, 4.5.3.1.3, less the angle brackets).
pub const EMAIL_MAX_BYTES: usize = 254;

/// An email address that a server could take. Whether one does, only that server knows.
///
/// Neither `Debug` nor `Display` shows it: logs must never hold an address.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// The address, if a mail server could take it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        syntax::check(text).map(|()| Self(text.to_owned()))
    }

    /// Its part before the `@`, and the domain as every mail server knows it: `bücher.example` is
    /// `xn--bcher-kva.example`. Keep both out of logs.
    pub fn in_ascii(&self) -> (&str, Cow<'_, str>) {
        let (local, domain) = syntax::split(&self.0).expect("it was parsed");
        (local, syntax::domain_in_ascii(domain).expect("it was parsed"))
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

/// Hides every email address in a text: the first letter and the domain stay. For error texts of other systems,
/// which like to quote the address that they refused.
pub fn mask(text: &str) -> String {
    text.split_inclusive(|c: char| c.is_whitespace() || "<>,;:()\"'".contains(c)).map(mask_word).collect()
}

fn mask_word(word: &str) -> String {
    // As in a form, where the sign is percent-encoded.
    match word.rsplit_once('@').or_else(|| word.rsplit_once("%40")) {
        // The sign itself, as in an error of ours that tells where it belongs.
        Some(_) if !word.contains(char::is_alphanumeric) => word.to_owned(),
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
    fn an_address_is_never_shown() {
        let address = EmailAddress::parse("ann.smith@example.com").expect("a valid address");
        assert_eq!(format!("{address:?}"), "a***@example.com");
        assert_eq!(mask("550 no such user <ann@example.com>: gone"), "550 no such user <a***@example.com>: gone");
        assert_eq!(mask("before the `@`, +@b.de"), "before the `@`, +***@b.de");
        assert_eq!(mask("cc=bob%40example.com&email=ann%40example.com"), "c***@example.com");
    }

    #[test]
    fn an_address_that_a_server_could_take_is_taken() {
        let check = |text: &str| drop(EmailAddress::parse(text).expect(text));
        check("ann@example.com");
        check("o'neil+shop@mail.example.co.uk");
        check("ann@localhost");
        check("ann@my_shop.example");
        check("ann@bücher.example");
        check("änn.é@example.com");
        check(&format!("{}@{}.com", "a".repeat(64), "b".repeat(63)));
    }

    /// Each names what is wrong, and none quotes the address.
    #[test]
    fn an_address_that_no_server_could_take_is_refused_with_the_reason() {
        let check = |text: &str, reason: &str| {
            let error = EmailAddress::parse(text).expect_err(text).to_string();
            assert!(error.starts_with("must be an email address of at most 254 bytes"), "{error}");
            assert!(error.contains(reason), "{text:?}: {error}");
        };
        for text in ["", "ann", "@", "@example.com", "ann@"] {
            check(text, "no `@`");
        }
        for text in ["ann..lee@example.com", ".ann@example.com", "ann.@example.com", ".@example.com"] {
            check(text, "before the `@`, a dot");
        }
        for text in ["ann@example..com", "ann@.example.com", "ann@example.com.", "ann@.", "ann@bücher..example"] {
            check(text, "after the `@`, a dot");
        }
        for text in
            ["a b@example.com", " ann@example.com", "a@b@c.de", "a\r\nb@example.com", "<a@b.de", "a\u{3000}@b.de"]
        {
            check(text, "character before the `@`");
        }
        for text in ["ann@exam ple.com", "ann@example.com ", "ann@b.de>", "ann@a!b.de", "ann@a\u{2028}.de", "ann@[::1]"]
        {
            check(text, "character after the `@`");
        }
        for text in ["a@-b.com", "a@b-.com", "a@b.-c", "a@bü-.com"] {
            check(text, "hyphen");
        }
        check(&format!("{}@example.com", "a".repeat(65)), "64 bytes");
        check(&format!("a@{}.com", "b".repeat(64)), "63 characters");
        check(&format!("a@{0}.{0}.{0}.{0}", "b".repeat(63)), "it is longer");
        // As many bytes as are allowed, and some more once it is translated.
        check(&format!("{}@{}", "a".repeat(60), ["ßåx"; 20].join(".")), "in ASCII");
        check("a@\u{200d}.de", "internationalised");
        check("a@ü\u{ff20}b.de", "internationalised");
    }

    #[test]
    fn a_domain_beyond_ascii_is_translated() {
        let check = |text: &str, local: &str, domain: &str| {
            let address = EmailAddress::parse(text).expect(text);
            assert_eq!(address.in_ascii(), (local, Cow::Borrowed(domain)));
        };
        check("ann@bücher.example", "ann", "xn--bcher-kva.example");
        check("änn@BÜCHER.example", "änn", "xn--bcher-kva.example");
        check("ann@Example.com", "ann", "Example.com");
        check("ann@例え。テスト", "ann", "xn--r8jz45g.xn--zckzah");
    }
}
