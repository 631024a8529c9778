//! Holds the documents to the code: to what the decoder takes ([`decoder`]), to what a receipt and an event have, and
//! to the files of `docs/`.

mod decoder;

use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::Document;
use crate::command::CommandType;
use crate::envelope::TraceContext;
use crate::event::EventType;
use crate::receipt::{Outcome, Receipt, RefusalCode};
use crate::topology::{RetryDelay, Topology};
use crate::{EntryType, Partition, topology};

fn validator(schema: &Value) -> Validator {
    jsonschema::meta::validate(schema).expect("a schema of its dialect");
    jsonschema::draft202012::new(schema).expect("a schema")
}

// --- The receipt -----------------------------------------------------------------------------------------------------

fn receipt() -> Receipt {
    let at = "2026-11-22T10:00:00.123456Z".parse().expect("a time");
    let id = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11".parse().expect("a UUID");
    // Every field is named: a new one is noticed here.
    Receipt {
        member_id: "ann".parse().expect("a member id"),
        command_id: id,
        r#type: CommandType::Spend.into(),
        outcome: Outcome::Refused,
        code: Some(RefusalCode::InsufficientPoints),
        points: Some(50),
        target: Some(id),
        expires_at: Some(at),
        number: Some(1),
        delta: 0,
        held_delta: 1,
        debt_delta: -1,
        written_off: 1,
        balance_after: 20,
        seq: 7,
        epoch: 1,
        occurred_at: at,
        effective_at: at,
        recorded_at: at,
        reason: Some("order 991".to_owned()),
        source_ref: Some("order:991".to_owned()),
    }
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn the_schema_of_a_receipt_has_the_fields_of_a_receipt() {
    let schema = Document::Receipt.value();
    let full = serde_json::to_value(receipt()).expect("a receipt is JSON");
    assert_eq!(names(&schema["properties"]), names(&full));
    let least = Receipt {
        outcome: Outcome::Applied,
        code: None,
        points: None,
        target: None,
        expires_at: None,
        number: None,
        held_delta: 0,
        debt_delta: 0,
        written_off: 0,
        reason: None,
        source_ref: None,
        ..receipt()
    };
    let required: Vec<_> = schema["required"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(required, names(&serde_json::to_value(least).expect("a receipt is JSON")));
}

#[test]
fn every_receipt_fits_its_schema() {
    let schema = validator(&Document::Receipt.value());
    let fits = |receipt: Receipt| schema.is_valid(&serde_json::to_value(receipt).expect("a receipt is JSON"));
    for code in RefusalCode::ALL {
        assert!(fits(Receipt { code: Some(*code), ..receipt() }), "{code}");
    }
    for entry_type in EntryType::all() {
        assert!(fits(Receipt { r#type: entry_type, code: None, outcome: Outcome::Applied, ..receipt() }));
    }
    assert!(!fits(Receipt { code: None, ..receipt() }), "a refused one says why");
    assert!(!fits(Receipt { outcome: Outcome::Applied, ..receipt() }), "an applied one has no reason to");
    assert!(!fits(Receipt { balance_after: -1, ..receipt() }));
}

// --- The event -------------------------------------------------------------------------------------------------------

#[test]
fn every_event_fits_the_schema_of_its_kind_and_no_field_is_missing_there() {
    let schema = validator(&Document::Event.value());
    let document = Document::Event.value();
    for event in crate::event::tests::one_of_each() {
        let wire: Value = serde_json::from_slice(&event.encode()).expect("an event is JSON");
        assert!(schema.is_valid(&wire), "{wire}");
        let kind = &document["$defs"][event.event_type().as_str()];
        assert!(names(&wire).iter().all(|field| kind["properties"].get(field).is_some()), "{wire}");
        for field in kind["required"].as_array().expect("a list").iter().filter_map(Value::as_str) {
            let mut less = wire.clone();
            less.as_object_mut().expect("an object").remove(field).expect("a field that is always there");
            assert!(!schema.is_valid(&less), "{less}");
        }
    }
}

/// They are what listeners are written by.
#[test]
fn the_events_in_the_docs_are_events() {
    const DOCS: &str = include_str!("../../../docs/events.md");
    let schema = validator(&Document::Event.value());
    let examples: Vec<&str> = DOCS.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 7);
    for example in examples {
        let event: Value = serde_json::from_str(example).expect(example);
        assert!(schema.is_valid(&event), "{example}");
    }
    for kind in EventType::ALL {
        assert!(DOCS.contains(&format!("`{kind}`")), "{kind} is told of");
    }
}

// --- The rest --------------------------------------------------------------------------------------------------------

#[test]
fn the_headers_are_those_that_a_trace_context_takes() {
    let schema = validator(&super::headers::schema());
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
    for parent in [parent, zeros, &parent.to_uppercase(), &parent.replacen("00", "01", 1), &parent[1..], ""] {
        let is_parent = TraceContext::parse(parent, None).is_some();
        assert_eq!(schema.is_valid(&json!({"traceparent": parent})), is_parent, "{parent}");
    }
    let without = TraceContext::parse(parent, None);
    for state in ["vendor=1", "", "a\nb", "ü", &"x".repeat(512), &"x".repeat(513)] {
        let is_state = TraceContext::parse(parent, Some(state)) != without;
        assert_eq!(schema.is_valid(&json!({"traceparent": parent, "tracestate": state})), is_state, "{state}");
    }
}

/// AsyncAPI shows them as one.
#[test]
fn the_queues_of_the_partitions_differ_by_their_number_only() {
    let queues = Topology::new(&RetryDelay::default_schedule()).queues;
    let first = queues.iter().find(|queue| queue.name == "loyalty.commands.00").expect("the first partition");
    for partition in Partition::all() {
        let queue = queues.iter().find(|queue| queue.name == partition.queue()).expect("a queue for each partition");
        assert_eq!(queue.arguments, first.arguments);
        assert_eq!(queue.bindings, [(topology::COMMANDS, partition.routing_key())]);
    }
}

/// `LOYALTY_WRITE_DOCS=1 cargo test -p loyalty-common --features schema schema` writes them instead.
#[test]
fn the_documents_in_docs_are_what_the_code_says() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    #[expect(clippy::disallowed_methods, reason = "asks for the documents to be written instead of compared")]
    let write = std::env::var_os("LOYALTY_WRITE_DOCS").is_some();
    let files = ["schema/command.json", "schema/receipt.json", "schema/event.json", "asyncapi.yaml"];
    for (document, file) in Document::ALL.into_iter().zip(files) {
        let path = docs.join(file);
        if write {
            std::fs::write(&path, document.text()).expect("a document can be written");
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        let same = published == document.text();
        assert!(same, "docs/{file} is not what the code says: `loyalty schema` prints it again");
    }
}
