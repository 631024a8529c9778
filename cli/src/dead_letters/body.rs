//! Bodies as people and programs read them. Whatever was sent, something readable comes out; mail addresses are
//! hidden unless they are asked for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use loyalty_common::text::mask;
use serde::Serialize;

/// The longest body that is shown whole, in bytes. The contract's are far below; what is above came astray.
const SHOWN_MAX_BYTES: usize = 16 * 1024;

/// A body for a program.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Encoded {
    /// The text, or the bytes in Base64.
    pub(super) body: String,
    /// Which of the two.
    pub(super) encoding: &'static str,
}

impl Encoded {
    /// Byte for byte.
    pub(super) fn exact(body: &[u8]) -> Self {
        match std::str::from_utf8(body) {
            Ok(text) => Self { body: text.to_owned(), encoding: "utf-8" },
            Err(_) => Self { body: STANDARD.encode(body), encoding: "base64" },
        }
    }

    /// With its mail addresses hidden. What is no text is shown as far as it is one.
    pub(super) fn masked(body: &[u8]) -> Self {
        let encoding = if std::str::from_utf8(body).is_ok() { "utf-8" } else { "lossy" };
        Self { body: mask(&plain(body)), encoding }
    }
}

/// A body for a person: JSON with a field a line, anything else as it is.
pub(super) fn readable(body: &[u8], reveal: bool) -> String {
    let all = plain(body);
    let end = (0..=SHOWN_MAX_BYTES.min(all.len())).rev().find(|at| all.is_char_boundary(*at)).unwrap_or_default();
    let text = if reveal { all[..end].to_owned() } else { mask(&all[..end]) };
    let cut =
        if end < all.len() { format!("\n... {} bytes in all; `export` has them", body.len()) } else { String::new() };
    let odd = if std::str::from_utf8(body).is_err() { "\n(not UTF-8; `export` has it byte for byte)" } else { "" };
    if body.is_empty() { "(empty)".to_owned() } else { format!("{text}{cut}{odd}") }
}

/// Pretty JSON spells every character out, so that no escape hides an address from the mask. Control characters would
/// play tricks on a terminal.
pub(super) fn plain(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(json) => format!("{json:#}"),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENROLMENT: &[u8] = br#"{"type":"enroll","email":"ann.smith\u0040example.com","v":1}"#;

    #[test]
    fn a_body_is_pretty_and_hides_addresses() {
        insta::assert_snapshot!(readable(ENROLMENT, false), @r#"
        {
          "email": "a***@example.com",
          "type": "enroll",
          "v": 1
        }
        "#);
        assert!(readable(ENROLMENT, true).contains("ann.smith@example.com"));
    }

    #[test]
    fn what_is_no_json_or_no_text_is_shown_all_the_same() {
        insta::assert_snapshot!(readable(b"{\"email\":\"ann@example.com\"", false), @r#"{"email":"a***@example.com""#);
        insta::assert_snapshot!(readable(b"\xff\x1b[2Jann", false), @"
        ��[2Jann
        (not UTF-8; `export` has it byte for byte)
        ");
        assert_eq!(readable(b"", false), "(empty)");
        assert!(readable("x".repeat(20_000).as_bytes(), false).ends_with("20000 bytes in all; `export` has them"));
    }

    #[test]
    fn an_export_is_byte_for_byte() {
        assert_eq!(Encoded::exact(b"ann@example.com").body, "ann@example.com");
        assert_eq!(Encoded::exact(b"\xff\xfe"), Encoded { body: "//4=".to_owned(), encoding: "base64" });
        assert_eq!(Encoded::masked(b"\xffann@example.com").encoding, "lossy");
    }
}
