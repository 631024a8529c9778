//! The part of the document that is about events: what other systems may listen to.

use serde_json::{Value, json};

use super::{BINDING_VERSION, exchange_id, reference};
use crate::envelope::{CONTENT_TYPE, PERSISTENT};
use crate::event::{EventType, MESSAGE_TYPE};
use crate::topology;

/// What the exchange is for.
pub(super) const ABOUT: &str = "Where events are published, if `[events]` is switched on in loyalty.toml. The routing \
    key is the kind of the event. Bind a queue of your own, with a bound on its length and x-overflow drop-head: one \
    that refuses events holds up those of all listeners. The broker drops what no queue is bound to.";

/// One entry for each kind of event.
pub(super) fn of_each_type(describe: impl Fn(EventType) -> Value) -> impl Iterator<Item = (String, Value)> {
    EventType::ALL.iter().map(move |it| (it.to_string(), describe(*it)))
}

pub(super) fn receive() -> Value {
    json!({
        "action": "receive",
        "title": "Listen to events",
        "description": "At least once. Each event of a member is first delivered after those with a lower seq; one \
            that comes again has the same event_id.",
        "channel": reference(&format!("channels/{}", exchange_id(topology::EVENTS))),
        "bindings": {
            "amqp": {
                "deliveryMode": PERSISTENT,
                "mandatory": false,
                "timestamp": true,
                "bindingVersion": BINDING_VERSION,
            },
        },
    })
}

pub(super) fn messages() -> Value {
    of_each_type(|it| reference(&format!("components/messages/{it}"))).collect()
}

pub(super) fn message(event_type: EventType) -> Value {
    json!({
        "name": event_type,
        "title": format!("Event {event_type}"),
        "summary": event_type.doc(),
        "traits": [reference("components/messageTraits/event")],
        "payload": reference(&format!("components/schemas/{event_type}")),
    })
}

pub(super) fn message_trait() -> Value {
    json!({
        "contentType": CONTENT_TYPE,
        "description": "One JSON object in UTF-8. No address and no name of a member ever stands in it.",
        "correlationId": {
            "description": "The command that did it; its receipt says more.",
            "location": "$message.payload#/command_id",
        },
        "bindings": {
            "amqp": { "messageType": MESSAGE_TYPE, "bindingVersion": BINDING_VERSION },
        },
        "x-properties": properties(),
    })
}

/// JSON Schema of the AMQP properties. AsyncAPI's bindings have no place for most of them.
fn properties() -> Value {
    let text = |what: &str| json!({ "type": "string", "description": what });
    json!({
        "type": "object",
        "required": ["delivery_mode", "content_type", "type", "message_id", "timestamp", "app_id"],
        "properties": {
            "delivery_mode": { "const": PERSISTENT },
            "content_type": { "const": CONTENT_TYPE },
            "type": { "const": MESSAGE_TYPE },
            "message_id": text("The event_id."),
            "timestamp": { "type": "integer", "description": "When it was decided, seconds since 1970." },
            "app_id": { "const": "loyalty" },
        },
    })
}
