//! Bodies as people and programs read them. Whatever was sent, something readable comes out; what is personal is hidden
//! unless it is asked for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use loyalty_common::escape;
use serde::Serialize;

use super::masking;
use crate::PersonalData;

/// The longest body that is shown whole, in bytes. The contract's are far below; what is above came astray.
const SHOWN_MAX_BYTES: usize = 16 * 1024;

/// A body for a program.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Encoded {
    /// The text, or the bytes in Base64.
    pub(super) body: String,
    pub(super) encoding: &'static str,
}

impl Encoded {
    /// Revealed, byte for byte. Masked, what is no text is shown as far as it is one.
    pub(super) fn of(body: &[u8], personal: PersonalData) -> Self {
        match (personal, std::str::from_utf8(body)) {
            (PersonalData::Revealed, Ok(text)) => Self { body: text.to_owned(), encoding: "utf-8" },
            (PersonalData::Revealed, Err(_)) => Self { body: STANDARD.encode(body), encoding: "base64" },
            (PersonalData::Masked, text) => {
                let encoding = if text.is_ok() { "utf-8" } else { "lossy" };
                Self { body: escape::lines(&masking::body(&plain(body))).into_owned(), encoding }
            }
        }
    }
}

/// A body for a person: JSON with a field a line, anything else as it is. Its own breaks of lines are marked and what
/// follows them is set in, so that no body can pose as what is printed around it.
pub fn readable(body: &[u8], personal: PersonalData) -> String {
    if body.is_empty() {
        return "(empty)".to_owned();
    }
    let all = plain(body);
    let text = match personal {
        PersonalData::Revealed => all,
        PersonalData::Masked => masking::body(&all),
    };
    let end = (0..=SHOWN_MAX_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let cut =
        if end < text.len() { format!("\n... {} bytes in all; `export` has them", body.len()) } else { String::new() };
    let odd = if std::str::from_utf8(body).is_err() { "\n(not UTF-8; `export` has it byte for byte)" } else { "" };
    format!("{}{cut}{odd}", escape::lines(&text[..end]))
}

/// The body as text. The one escape that could hide an address from the mask is spelled out.
fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    pretty(&text).unwrap_or_else(|| text.replace('\n', "\\n\n  ")).replace("\\u0040", "@")
}

/// JSON with a field a line, if it is JSON. Only the space between the tokens changes: a field that stands twice, or a
/// number of a hundred digits, is what an operator looks for.
pub fn pretty(json: &str) -> Option<String> {
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

    const MASKED: PersonalData = PersonalData::Masked;

    const ENROLMENT: &[u8] = br#"{"type":"enroll","email":"ann.smith\u0040example.com","v":1}"#;

    #[test]
    fn a_body_is_pretty_and_hides_addresses() {
        insta::assert_snapshot!(readable(ENROLMENT, MASKED), @r#"
        {
          "type": "enroll",
          "email": "a***@example.com",
          "v": 1
        }
        "#);
        assert!(readable(ENROLMENT, PersonalData::Revealed).contains("ann.smith@example.com"));
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
        insta::assert_snapshot!(readable(b"{\"email\":\"ann@example.com\"", MASKED), @r#"{"email":"a***@example.com""#);
        insta::assert_snapshot!(readable(b"\xff\x1b[2Jann\nhistory:", MASKED), @r"
        �\u{1b}[2Jann\n
          history:
        (not UTF-8; `export` has it byte for byte)
        ");
        assert_eq!(readable(b"", MASKED), "(empty)");
        assert!(readable("x".repeat(20_000).as_bytes(), MASKED).ends_with("20000 bytes in all; `export` has them"));
    }

    #[test]
    fn an_export_is_byte_for_byte() {
        assert_eq!(Encoded::of(b"ann@example.com", PersonalData::Revealed).body, "ann@example.com");
        assert_eq!(
            Encoded::of(b"\xff\xfe", PersonalData::Revealed),
            Encoded { body: "//4=".to_owned(), encoding: "base64" }
        );
        assert_eq!(Encoded::of(b"\xffann@example.com", MASKED).encoding, "lossy");
    }
}
