//! What the decoder takes fits the schema of a command, and what it refuses does not, except for the rules that no
//! schema can say.

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::validator;
use crate::command::CommandType;
use crate::decode::{DecodeError, decode};
use crate::rfc3339::{Moment, is_rfc_3339};
use crate::schema::{Document, schema_of};
use crate::{CommandId, EmailAddress, MemberId, Text};

/// One thing done to the fields of a good command.
#[derive(Clone, Debug)]
enum Change {
    Set(&'static str, Value),
    Remove(&'static str),
}

const FIELDS: [&str; 15] = [
    "v",
    "command_id",
    "member_id",
    "type",
    "points",
    "email",
    "name",
    "target",
    "expires_at",
    "counts",
    "number",
    "occurred_at",
    "reason",
    "source_ref",
    "bonus",
];

fn good(command_type: CommandType) -> Map<String, Value> {
    let mut fields = json!({"v": 1, "command_id": "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11", "member_id": "123",
        "type": command_type, "occurred_at": "2026-11-22T10:00:00Z", "reason": "order 991"});
    for field in command_type.about().fields {
        fields[field.name] = example(field.name);
    }
    let Value::Object(fields) = fields else { unreachable!("it was written as an object") };
    fields
}

/// Of each kind of field that a command has.
fn example(field: &str) -> Value {
    match field {
        "points" => json!(50),
        "email" => json!("ann@example.com"),
        "name" => json!("Ann"),
        "target" => json!("019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e10"),
        "expires_at" => json!("2026-11-30T10:00:00Z"),
        "counts" => json!(true),
        "number" => json!(1),
        other => panic!("{other} needs an example here, and values near its bounds below"),
    }
}

/// Values near the bounds of every field.
fn known_values() -> Vec<Value> {
    [numbers_and_ids(), texts()].concat()
}

fn numbers_and_ids() -> Vec<Value> {
    let id = "019A8F2E-6D1C-7C3A-9B1E-2F4C8A6D0E11";
    vec![
        json!(1),
        json!(0),
        json!(-1),
        json!(1.0),
        json!(1.5),
        json!(2),
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!(1_000_000_000_000_i64),
        json!(1_000_000_000_001_i64),
        json!(u64::MAX),
        json!(-1_000_000_000_000_i64),
        json!(-1_000_000_000_001_i64),
        json!(1_000_000),
        json!(1_000_001),
        json!(false),
        json!(1e12),
        json!(1e300),
        json!(id),
        json!(id.replace('-', "")),
        json!(format!("{{{id}}}")),
        json!(format!("urn:uuid:{id}")),
        json!(format!("URN:UUID:{id}")),
        json!(format!("{{{}}}", id.replace('-', ""))),
        json!(id.replacen('-', "", 1)),
        json!(id.to_lowercase()),
        json!(id.replace("-7C3A-", "-8C3A-")),
    ]
}

fn texts() -> Vec<Value> {
    vec![
        json!(""),
        json!(" "),
        json!("a\n"),
        json!("x".repeat(64)),
        json!("x".repeat(65)),
        json!("x".repeat(200)),
        json!("x".repeat(201)),
        json!("ü".repeat(100)),
        json!("ü".repeat(101)),
        json!("ü".repeat(200)),
        json!("enroll"),
        json!("earn"),
        json!("spend"),
        json!("exit"),
        json!("update"),
        json!("Earn"),
        json!(format!("{}@b.de", "a".repeat(64))),
        json!(format!("{}@b.de", "a".repeat(65))),
        json!(format!("a@{}", "b".repeat(63))),
        json!(format!("a@{}", "b".repeat(64))),
        json!(format!("a@{0}.{0}.{0}.{1}", "b".repeat(62), "c".repeat(63))),
        json!(format!("a@{0}.{0}.{0}.{1}", "b".repeat(63), "c".repeat(61))),
        json!("ann..lee@example.com"),
        json!("ann@example..com"),
        json!("a@-b.com"),
        json!("a@xn--bcher-kva.example"),
        json!("a@bücher.example"),
        json!("a@.b"),
        json!("a@b."),
        json!("a@b"),
        json!("a@b@c"),
        json!("ü@ü"),
        json!("a\u{85}@b"),
        json!("a\u{3000}@b"),
        json!("a\u{feff}@b"),
        json!("1899-12-31T23:59:59Z"),
        json!("2026-02-30T10:00:00Z"),
        json!("9999-12-31T23:59:59Z"),
        json!("2026-11-22T10:00:00Z"),
        json!("2026-12-23T10:00:00Z"),
        json!("2026-12-23T10:00:00.000001Z"),
        json!("2026-11-22T10:00:00"),
        json!("2026-11-22T10:00Z"),
        json!("2026-11-22T10:00:60Z"),
        json!("2026-11-22t10:00:00.123456789+23:59"),
        json!("2026-11-22 10:00:00,5z"),
        json!("20261122T100000Z"),
    ]
}

/// Values near the bounds of every field, in the right places and in wrong ones, and others.
fn any_value() -> impl Strategy<Value = Value> {
    let member = "[!-~]{0,66}|[ -~]{1,10}";
    let address = r"[a-zü.@\[\]\\<>(),;: \u{1680}\u{7f}]{1,3}@[a-zü.@\u{2029}]{0,4}";
    let moment = r"[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{1,10})?([zZ]|[+-][0-2][0-9]:[0-5][0-9])?";
    prop_oneof![
        4 => prop::sample::select(known_values()),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => r"(.|\n|\u{80}|\u{9f}|\u{a0}){0,3}".prop_map(Value::from),
        1 => member.prop_map(Value::from),
        2 => address.prop_map(Value::from),
        2 => moment.prop_map(Value::from),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let field = || prop::sample::select(FIELDS.to_vec());
    prop_oneof![4 => (field(), any_value()).prop_map(|(name, value)| Change::Set(name, value)), 1 => field().prop_map(Change::Remove)]
}

/// What the decoder refuses for a rule that no schema can say. The field that it names must show it.
fn is_beyond_a_schema(error: &DecodeError, fields: &Map<String, Value>) -> bool {
    let Some((field, value)) = error.field().and_then(|field| Some((field, fields.get(field)?))) else { return false };
    let text = value.as_str().unwrap_or_default();
    match field {
        // To JSON Schema 1.0 is an integer.
        "v" | "points" | "number" => value.as_f64().is_some_and(|number| value.is_f64() && number.fract() == 0.0),
        // It counts characters.
        "email" | "name" | "reason" | "source_ref" => !text.is_ascii(),
        // It knows no calendar, and compares no two fields.
        "occurred_at" | "expires_at" => is_rfc_3339(text),
        "counts" => value == &json!(true) && fields["points"].as_i64() < Some(0),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_schema_takes_what_the_decoder_takes_and_refuses_what_it_refuses(
        command_type in prop::sample::select(CommandType::ALL.to_vec()),
        changes in prop::collection::vec(change(), 0..3),
    ) {
        thread_local!(static SCHEMA: Validator = validator(&Document::Command.value()));
        let mut fields = good(command_type);
        for change in &changes {
            match change {
                Change::Set(name, value) => drop(fields.insert((*name).to_owned(), value.clone())),
                Change::Remove(name) => drop(fields.remove(*name)),
            }
        }
        let body = serde_json::to_vec(&fields).expect("values are JSON");
        let valid = SCHEMA.with(|schema| schema.is_valid(&Value::Object(fields.clone())));
        match decode(&body) {
            Ok(_) => prop_assert!(valid, "the decoder takes it, the schema does not"),
            Err(error) => prop_assert!(!valid || is_beyond_a_schema(&error, &fields), "the schema takes it; {error}"),
        }
        prop_assert!(valid || !changes.is_empty(), "a good command fits the schema");
    }
}

/// All texts of at most so many of these characters.
fn all_texts(of: &str, length: usize) -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut longest = texts.clone();
    for _ in 0..length {
        longest = longest.iter().flat_map(|text| of.chars().map(move |c| format!("{text}{c}"))).collect();
        texts.extend(longest.iter().cloned());
    }
    texts
}

/// A text with every character that any rule names, and with many more, in its middle.
fn with_each_character(before: &str, after: &str) -> Vec<String> {
    ('\0'..'\u{3100}').chain(['\u{feff}', '\u{10348}']).map(|c| format!("{before}{c}{after}")).collect()
}

/// Which names beyond ASCII there are is more than a schema can say; it takes all that the decoder takes.
#[test]
fn the_schema_takes_all_domains_that_the_decoder_takes() {
    let schema = validator(&schema_of::<EmailAddress>());
    for text in with_each_character("a@b", "c.de").into_iter().filter(|text| EmailAddress::parse(text).is_ok()) {
        assert!(schema.is_valid(&json!(text)), "{text:?}");
    }
}

/// The same text with one character removed, or replaced by one of these.
fn with_one_fault(text: &str, of: &str) -> Vec<String> {
    let faults = |at: usize| {
        let (before, after) = (&text[..at], &text[at + 1..]);
        of.chars().map(move |c| format!("{before}{c}{after}")).chain([format!("{before}{after}")])
    };
    (0..text.len()).flat_map(faults).collect()
}

#[test]
fn the_schema_of_a_text_takes_what_its_type_takes() {
    let check = |schema: Value, fits: fn(&str) -> bool, texts: Vec<String>| {
        let schema = validator(&schema);
        for text in texts {
            assert_eq!(schema.is_valid(&json!(text)), fits(&text), "{text:?}");
        }
    };
    let member = |text: &str| MemberId::parse(text).is_ok();
    check(schema_of::<MemberId>(), member, with_each_character("a", ""));
    check(schema_of::<MemberId>(), member, vec![String::new(), "x".repeat(64), "x".repeat(65)]);
    let id = |text: &str| CommandId::parse(text).is_ok();
    check(schema_of::<CommandId>(), id, with_one_fault("019a8f2e-6d1c-7c3a-9B1E-2f4c8a6d0e11", "0-gF{"));
    let free = |text: &str| Text::parse(text).is_ok();
    check(schema_of::<Text>(), free, with_each_character("a", "b"));
    check(schema_of::<Text>(), free, vec![String::new(), "x".repeat(200), "x".repeat(201)]);
    let address = |text: &str| EmailAddress::parse(text).is_ok();
    let long = |local: usize, labels: [usize; 4]| {
        format!("{}@{}", "a".repeat(local), labels.map(|length| "b".repeat(length)).join("."))
    };
    check(schema_of::<EmailAddress>(), address, with_each_character("a", "b@c.de"));
    check(
        schema_of::<EmailAddress>(),
        address,
        with_each_character("a@b", "c.de").into_iter().filter(|text| text.is_ascii()).collect(),
    );
    check(schema_of::<EmailAddress>(), address, all_texts("a@.<-", 6));
    check(
        schema_of::<EmailAddress>(),
        address,
        vec![long(64, [63, 63, 61, 1]), long(65, [1; 4]), long(1, [63, 63, 63, 60])],
    );
    check(
        schema_of::<EmailAddress>(),
        address,
        vec![long(1, [63; 4]), long(1, [64, 1, 1, 1]), long(64, [63, 63, 60, 1])],
    );
    for moment in ["2026-11-22T10:00:00Z", "2026-11-22T10:00:00.123456789+01:00", "2026-11-22t10:00:00.1234567890z"] {
        check(schema_of::<Moment>(), is_rfc_3339, with_one_fault(moment, "0-+:TtZz ,.é"));
    }
}
