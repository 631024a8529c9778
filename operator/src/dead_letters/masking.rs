//! What is hidden of a dead letter unless somebody asks for it: email addresses, names and telephone numbers, wherever
//! a publisher has put them.

use std::sync::LazyLock;

use loyalty_common::email_address::mask;
use regex::{Captures, Regex};
use serde_json::{Map, Value};

/// What stands for a name or a number.
const HIDDEN: &str = "***";

/// Parts of the names of fields that hold what is personal, without `_`, `-` and capitals.
const PERSONAL: [&str; 11] =
    ["name", "email", "phone", "mobile", "handy", "telefon", "fax", "address", "street", "birth", "recipient"];

/// A field of JSON and its value, if that is a text or a number. Also of JSON that is broken or cut off.
static JSON_FIELD: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"("(?:[^"\\]|\\[\s\S])*")(\s*:\s*)("(?:[^"\\]|\\[\s\S])*"?|[-+0-9][-+0-9.eE]*)"#));

static FORM_FIELD: LazyLock<Regex> = LazyLock::new(|| pattern(r"([^\s&=?]+)=([^\s&]*)"));

/// A telephone number as it is written for abroad.
static TELEPHONE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?:\+|%2[bB])[0-9][0-9 ()./-]{5,}[0-9]"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a constant")
}

/// A text: a routing key, a header, an error.
pub(super) fn text(text: &str) -> String {
    mask(&TELEPHONE.replace_all(text, HIDDEN))
}

/// A body: JSON, a form, or anything else.
pub(super) fn body(body: &str) -> String {
    if let Some(masked) = serde_json::from_str(body).ok().filter(nests_personal).map(|value| headers(&value)) {
        return text(&masked.to_string());
    }
    if JSON_FIELD.is_match(body) {
        let masked = JSON_FIELD.replace_all(body, |field: &Captures<'_>| {
            let name: String = serde_json::from_str(&field[1]).unwrap_or_else(|_| field[1].to_owned());
            let value = &field[3];
            let shown = if is_personal(&name) { quoted_like(value, &personal(value)) } else { text(value) };
            format!("{}{}{shown}", text(&field[1]), &field[2])
        });
        return text(&masked);
    }
    let body = TELEPHONE.replace_all(body, HIDDEN);
    body.split_inclusive(char::is_whitespace).map(word).collect()
}

/// A word of a text; or a form, each of whose values is a word of its own.
fn word(word: &str) -> String {
    if !FORM_FIELD.is_match(word) {
        return mask(word);
    }
    let masked = FORM_FIELD.replace_all(word, |field: &Captures<'_>| {
        let value = if is_personal(&field[1]) { personal(&field[2]) } else { mask(&field[2]) };
        format!("{}={value}", mask(&field[1]))
    });
    masked.into_owned()
}

/// Headers, their names included.
pub(super) fn headers(headers: &Value) -> Value {
    match headers {
        Value::String(value) => Value::String(text(value)),
        Value::Array(values) => values.iter().map(self::headers).collect(),
        Value::Object(fields) => {
            let shown = fields.iter().map(|(name, value)| match value {
                Value::String(value) if is_personal(name) => (text(name), Value::String(personal(value))),
                Value::Number(_) if is_personal(name) => (text(name), Value::String(HIDDEN.to_owned())),
                Value::Array(_) | Value::Object(_) if is_personal(name) => {
                    (text(name), Value::String(HIDDEN.to_owned()))
                }
                other => (text(name), self::headers(other)),
            });
            Value::Object(shown.collect::<Map<String, Value>>())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => headers.clone(),
    }
}

/// Whether a list or an object stands where something personal does, which only a parser takes apart.
fn nests_personal(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().any(nests_personal),
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            (value.is_array() || value.is_object()) && (is_personal(name) || nests_personal(value))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn is_personal(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    plain == "tel" || PERSONAL.iter().any(|part| plain.contains(part))
}

/// An address keeps its domain, which tells an operator what is wrong with it. Nothing else stays.
fn personal(value: &str) -> String {
    let value = value.trim_matches('"');
    let is_address = !value.contains(char::is_whitespace) && (value.contains('@') || value.contains("%40"));
    if is_address { mask(value) } else { HIDDEN.to_owned() }
}

fn quoted_like(value: &str, shown: &str) -> String {
    if value.starts_with('"') { format!("\"{shown}\"") } else { format!("\"{HIDDEN}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_numbers_and_addresses_are_hidden_in_every_kind_of_body() {
        let check = |given: &str, shown: &str| assert_eq!(body(given), shown);
        check(r#"{"name": "Ann Smith", "points": 5}"#, r#"{"name": "***", "points": 5}"#);
        check(r#"{"first_name":"Ann","Telephone":491701234567}"#, r#"{"first_name":"***","Telephone":"***"}"#);
        check(r#"{"n\u0061me":"Ann","email":"ann@example.com"}"#, r#"{"n\u0061me":"***","email":"a***@example.com"}"#);
        check(r#"{"email":"Ann Smith <ann@example.com>"}"#, r#"{"email":"***"}"#);
        check(r#"{"name":"Ann Smi"#, r#"{"name":"***""#);
        check("email=ann%40example.com&name=Ann+Smith&v=1", "email=a***@example.com&name=***&v=1");
        check("call +49 170 1234567 or ann@example.com", "call *** or a***@example.com");
        check(
            r#"{"reason":"order 991","note":"ann@example.com"}"#,
            r#"{"reason":"order 991","note":"a***@example.com"}"#,
        );
        check(
            r#"{"member_id":"ann","name":{"first":"Ann","last":"Smith"},"others":[{"phones":["030 123"]}]}"#,
            r#"{"member_id":"ann","name":"***","others":[{"phones":"***"}]}"#,
        );
    }

    #[test]
    fn names_of_headers_are_texts_like_their_values() {
        let given =
            json!({ "ann@example.com": 1, "x": ["bob@example.com"], "user_names": ["Ann"], "d": { "phone": 5 } });
        let shown =
            json!({ "a***@example.com": 1, "x": ["b***@example.com"], "user_names": "***", "d": { "phone": "***" } });
        assert_eq!(headers(&given), shown);
    }
}
