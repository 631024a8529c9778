//! From bytes to a [`Command`], or to the reason why not.
//!
//! The fields are taken out of the object one by one rather than derived, because the error must name the field and
//! what is allowed, must never quote a value (it may be an address), and a repeated or unknown field must be refused.

use crate::command::fields::{Fields, REPEATED};
use crate::command::{Action, BODY_MAX_BYTES, Command, Draft, Field};
use crate::rfc3339::Moment;

pub use crate::command::DecodeError;

/// The command of a body.
pub fn decode(body: &[u8]) -> Result<Command, DecodeError> {
    let draft = decode_draft(body)?;
    let command_id = draft.command_id.ok_or_else(|| DecodeError::missing("command_id"))?;
    let occurred_at = draft.occurred_at.ok_or_else(|| DecodeError::missing("occurred_at"))?;
    draft.completed(command_id, occurred_at)
}

/// The same, for receivers who make the id and the time themselves where the sender gives none.
pub fn decode_draft(body: &[u8]) -> Result<Draft, DecodeError> {
    if body.len() > BODY_MAX_BYTES {
        return Err(DecodeError::TooLarge { bytes: body.len() });
    }
    let mut fields: Fields = serde_json::from_slice(body).map_err(|error| match other_than_utf_8(body) {
        Some(problem) => DecodeError::Malformed { problem: format!("not JSON, {problem}") },
        None => unreadable(&error),
    })?;
    let command_type = fields.version_and_type()?;
    let draft = Draft {
        command_id: Field::take(&mut fields, "command_id")?,
        member_id: Field::take(&mut fields, "member_id")?,
        occurred_at: <Option<Moment> as Field>::take(&mut fields, "occurred_at")?.map(Moment::get),
        reason: Field::take(&mut fields, "reason")?,
        source_ref: Field::take(&mut fields, "source_ref")?,
        action: Action::take(command_type, &mut fields)?,
    };
    fields.nothing_left(command_type)?;
    Ok(draft)
}

/// The parser's own words with its position, without the quoted input that they may carry.
fn unreadable(error: &serde_json::Error) -> DecodeError {
    let place = format!("line {} column {}", error.line(), error.column());
    let problem = match error.classify() {
        serde_json::error::Category::Eof => format!("it ends too early, {place}"),
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => format!("not JSON, {place}"),
        serde_json::error::Category::Data => match error.to_string().strip_prefix(REPEATED) {
            Some(rest) => return DecodeError::field_error(rest.split('`').next().unwrap_or("?"), "is given twice"),
            None => format!("not an object, {place}"),
        },
    };
    DecodeError::Malformed { problem }
}

/// What a body is that is no UTF-8, by how it begins: its sender sees plain JSON and would not know what is wrong with
/// it.
fn other_than_utf_8(body: &[u8]) -> Option<&'static str> {
    match body {
        [0x1f, 0x8b, ..] => Some("it is compressed with gzip; send it uncompressed"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("it is compressed with zstd; send it uncompressed"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{', 0, ..] | [0, b'{', ..] => Some("it is UTF-16; send it as UTF-8"),
        [0xef, 0xbb, 0xbf, ..] => Some("it begins with a byte order mark (EF BB BF); send it without"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, CommandId};

    const EARN: &str = r#"{"v":1,"command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","member_id":"123","type":"earn","points":50,"occurred_at":"2026-11-22T10:00:00Z"}"#;

    fn problem(body: &str) -> String {
        decode(body.as_bytes()).expect_err(body).to_string()
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        let check = |from: &str, to: &str, expected: &str| {
            let body = EARN.replace(from, to);
            assert_ne!(body, EARN, "the case changes something: {from}");
            assert_eq!(problem(&body), expected);
        };
        let points = "`points` must be an integer from 1 to 1000000000000";
        for wrong in ["0", "-5", "1.5", "1e3", "1000000000001", "99999999999999999999999", "\"50\"", "null", "true"] {
            check("\"points\":50", &format!("\"points\":{wrong}"), points);
        }
        check("\"points\":50,", "", "`points` is missing");
        check("\"v\":1", "\"v\":2", "`v` must be 1");
        check("\"v\":1", "\"v\":\"1\"", "`v` must be 1");
        check(
            "earn",
            "earm",
            "`type` must be one of enroll, update, earn, spend, adjust, reverse, hold, capture, release, redeem, exit, \
             terminate",
        );
        check("\"points\"", "\"pionts\"", "`points` is missing");
        check("\"points\":50", "\"points\":50,\"bonus\":1", "`bonus` is not a field of `earn`");
        check("\"points\":50", "\"points\":50,\"email\":\"a@b.de\"", "`email` is not a field of `earn`");
        check("\"points\":50", "\"points\":50,\"ann@b.de\":1", "`?` is not a field of `earn`");
        check("\"123\"", "\"\"", "`member_id` must be 1 to 64 bytes of printable ASCII without spaces");
        check("\"123\"", "123", "`member_id` must be a string");
        check("019a8f2e", "", "`command_id` must be a UUID such as 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11");
        check(
            "2026-11-22T10:00:00Z",
            "yesterday",
            "`occurred_at` must be an RFC 3339 time of the years 1900 to 9998 in UTC",
        );
        check(
            "2026-11-22T10:00:00Z",
            "1899-12-31T23:59:59Z",
            "`occurred_at` must be an RFC 3339 time of the years 1900 to 9998 in UTC",
        );
        check(
            "2026-11-22T10:00:00Z",
            "9999-01-01T00:00:00Z",
            "`occurred_at` must be an RFC 3339 time of the years 1900 to 9998 in UTC",
        );
        for at in ["1900-01-01T00:00:00Z", "9998-12-31T23:59:59.999999Z"] {
            let bound = EARN.replace("2026-11-22T10:00:00Z", at);
            assert_eq!(decode(bound.as_bytes()).map(|command| command.occurred_at.to_string()), Ok(at.to_owned()));
        }
        check(
            "\"points\":50",
            "\"points\":50,\"reason\":\"\\u0000\"",
            "`reason` must be 1 to 200 bytes of UTF-8 without control characters",
        );
        check("\"points\":50", "\"points\":50,\"points\":60", "`points` is given twice");
    }

    #[test]
    fn an_update_names_what_it_changes_and_null_clears_it() {
        let body =
            |fields: &str| EARN.replace("\"type\":\"earn\",\"points\":50", &format!("\"type\":\"update\"{fields}"));
        let check = |fields: &str, expected: &str| assert_eq!(problem(&body(fields)), expected);
        check("", "`email` or `name` must be given: a value, or null to clear it");
        check(
            r#","email":"ann""#,
            "`email` must be an email address of at most 254 bytes, such as ann@example.com: it has no `@` with something \
             before and after it, or null to clear it",
        );
        check(r#","name":5"#, "`name` must be a string, or null to clear it");
        check(r#","email":null,"points":5"#, "`points` is not a field of `update`");
        let update = |fields: &str| match decode(body(fields).as_bytes()).expect(fields).action {
            Action::Update(update) => update,
            other => panic!("{other:?}"),
        };
        let cleared = update(r#","email":null"#);
        assert_eq!((cleared.email(), cleared.name()), (&Change::Clear, &Change::Keep));
        assert_ne!(cleared, update(r#","email":null,"name":null"#), "null is not absence");
    }

    fn with(fields: &str) -> String {
        EARN.replace("\"type\":\"earn\",\"points\":50", fields)
    }

    #[test]
    fn an_adjustment_says_why_and_takes_nothing_that_was_earned() {
        let check = |points: &str, rest: &str, expected: &str| {
            assert_eq!(problem(&with(&format!(r#""type":"adjust","points":{points}{rest}"#))), expected);
        };
        check("-5", "", "`reason` is missing");
        check("-5", r#","counts":true,"reason":"a""#, "`counts` must not be true where points are taken");
        check("5", r#","counts":"yes","reason":"a""#, "`counts` must be true or false");
        for points in ["0", "1000000000001", "-1000000000001", "1.5"] {
            let bounds = "`points` must be an integer from -1000000000000 to 1000000000000, and not 0";
            check(points, r#","reason":"a""#, bounds);
        }
        let counts = |rest: &str| {
            let body = with(&format!(r#""type":"adjust","points":5,"reason":"a"{rest}"#));
            decode(body.as_bytes()).expect("an adjustment").action.counts()
        };
        assert_eq!(counts(""), counts(r#","counts":false"#), "what is left out is false");
        assert_ne!(counts(""), counts(r#","counts":true"#));
    }

    #[test]
    fn a_hold_runs_out_after_it_happened_and_within_a_month() {
        let hold = |expires_at: &str| with(&format!(r#""type":"hold","points":5,"expires_at":"{expires_at}""#));
        let wrong = "`expires_at` must be after `occurred_at`, by at most 31 days";
        for expires_at in ["2026-11-22T10:00:00Z", "2026-12-23T10:00:00.000001Z", "2020-01-01T00:00:00Z"] {
            assert_eq!(problem(&hold(expires_at)), wrong, "{expires_at}");
        }
        for expires_at in ["2026-11-22T10:00:00.000001Z", "2026-12-23T10:00:00Z"] {
            assert!(decode(hold(expires_at).as_bytes()).is_ok(), "{expires_at}");
        }
        // So too where its receiver says when it happened.
        let without_time = hold("2026-11-22T10:00:00Z").replace(r#","occurred_at":"2026-11-22T10:00:00Z""#, "");
        let draft = decode_draft(without_time.as_bytes()).expect("a draft");
        let at = |text: &str| draft.clone().completed(CommandId::fresh(), text.parse().expect("a time"));
        assert_eq!(at("2026-11-22T10:00:00Z").map_err(|error| error.to_string()), Err(wrong.to_owned()));
        assert!(at("2026-11-22T09:59:59Z").is_ok());
    }

    /// A sender that used one could keep what happens by itself from being written.
    #[test]
    fn an_id_of_what_happens_by_itself_is_no_id_of_a_command_but_may_be_a_target() {
        let own = CommandId::of_system_row(&"123".parse().expect("a member id"), 7).to_string();
        let refused = problem(&EARN.replace("019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11", &own));
        assert!(refused.starts_with("`command_id` must not be a UUID of version 8"), "{refused}");
        assert!(decode(with(&format!(r#""type":"release","target":"{own}""#)).as_bytes()).is_ok());
    }

    #[test]
    fn what_is_no_object_is_malformed() {
        for body in ["", "{", "[]", "5", "nonsense", "{\"v\":1", "{} {}", "\u{feff}{}"] {
            assert!(matches!(decode(body.as_bytes()), Err(DecodeError::Malformed { .. })), "{body:?}");
        }
        assert!(matches!(decode(b"\xff\xfe{}"), Err(DecodeError::Malformed { .. })));
        let deep = "[".repeat(10_000);
        assert!(matches!(decode(format!("{{\"v\":{deep}").as_bytes()), Err(DecodeError::Malformed { .. })));
    }

    #[test]
    fn a_body_in_another_encoding_is_named_as_what_it_is() {
        let check = |body: &[u8], expected: &str| {
            let error = decode(body).expect_err("no JSON").to_string();
            assert_eq!(error, format!("the body must be one JSON object: not JSON, {expected}"));
        };
        check(b"\x1f\x8b\x08\0\0\0\0\0", "it is compressed with gzip; send it uncompressed");
        check(b"\x28\xb5\x2f\xfd\x04", "it is compressed with zstd; send it uncompressed");
        let utf_16: Vec<u8> = EARN.encode_utf16().flat_map(u16::to_le_bytes).collect();
        check(&utf_16, "it is UTF-16; send it as UTF-8");
        check(&[b"\xff\xfe".as_slice(), &utf_16].concat(), "it is UTF-16; send it as UTF-8");
        let marked = format!("\u{feff}{EARN}");
        check(marked.as_bytes(), "it begins with a byte order mark (EF BB BF); send it without");
    }

    #[test]
    fn a_body_over_the_bound_is_refused_unread() {
        let padded = |bytes: usize| format!("{EARN}{}", " ".repeat(bytes - EARN.len()));
        assert!(decode(padded(BODY_MAX_BYTES).as_bytes()).is_ok());
        assert_eq!(
            decode(padded(BODY_MAX_BYTES + 1).as_bytes()),
            Err(DecodeError::TooLarge { bytes: BODY_MAX_BYTES + 1 })
        );
    }

    #[test]
    fn an_error_never_quotes_an_address() {
        let body =
            EARN.replace("\"type\":\"earn\",\"points\":50", "\"type\":\"enroll\",\"email\":\"ann smith@example.com\"");
        assert!(!problem(&body).contains("smith"), "{}", problem(&body));
    }
}
