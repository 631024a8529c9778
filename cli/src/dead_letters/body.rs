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

/// The body as text. Control characters would play tricks on a terminal, and the one escape that could hide an address
/// from the mask is spelled out.
fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = pretty(&text).unwrap_or_else(|| text.into_owned()).replace("\\u0040", "@");
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// JSON with a field a line, if it is JSON. Only the space between the tokens changes: a field that stands twice, or a
/// number of a hundred digits, is what an operator looks for.
pub(super) fn pretty(json: &str) -> Option<String> {
    serde_json::from_str::<serde::de::IgnoredAny>(json).ok()?;
    let (mut text, mut depth, mut quoted, mut escaped) = (String::new(), 0_usize, false, false);
    for c in json.chars() {
        if quoted {
            text.push(c);
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '{' | '[' => {
                depth += 1;
                text.push(c);
                break_line(&mut text, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if text.trim_end().ends_with(['{', '[']) {
                    text.truncate(text.trim_end().len());
                } else {
                    break_line(&mut text, depth);
                }
                text.push(c);
            }
            ',' => {
                text.push(c);
                break_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            c if c.is_whitespace() => {}
            c => {
                quoted = c == '"';
                text.push(c);
            }
        }
    }
    Some(text)
}

fn break_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENROLMENT: &[u8] = br#"{"type":"enroll","email":"ann.smith\u0040example.com","v":1}"#;

    #[test]
    fn a_body_is_pretty_and_hides_addresses() {
        insta::assert_snapshot!(readable(ENROLMENT, false), @r#"
        {
          "type": "enroll",
          "email": "a***@example.com",
          "v": 1
        }
        "#);
        assert!(readable(ENROLMENT, true).contains("ann.smith@example.com"));
    }

    #[test]
    fn pretty_json_is_the_same_json() {
        let json = r#"{"a":[1,{},[],"x\"},{ \\"],"n":1e400,"n":00.5}"#;
        assert_eq!(pretty(json), None, "a number does not begin with two zeros");
        let json = json.replace("00.5", "12345678901234567890.50");
        insta::assert_snapshot!(pretty(&json).expect("JSON"), @r#"
        {
          "a": [
            1,
            {},
            [],
            "x\"},{ \\"
          ],
          "n": 1e400,
          "n": 12345678901234567890.50
        }
        "#);
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
