//! The part of the document that is about events: what other systems may listen to.

use super::{BINDING_VERSION, exchange_id, reference};
use crate::envelope::{CONTENT_TYPE, PERSISTENT};
use crate::event::{EventType, MESSAGE_TYPE};
use crate::schema::event::meaning;
use crate::schema::tree::{Tree, object};
use crate::topology;

/// What the exchange is for.
pub(super) const ABOUT: &str = "Where events are published, if `[events]` is switched on in loyalty.toml. The routing \
    key is the kind of the event. Bind a queue of your own, with a bound on its length and x-overflow drop-head: one \
    that refuses events holds up those of all listeners. What nobody is bound to is dropped.";

/// One entry for each kind of event.
pub(super) fn of_each_type(describe: impl Fn(EventType) -> Tree) -> Tree {
    Tree::fields(EventType::ALL.iter().map(|it| (it.to_string(), describe(*it))))
}

pub(super) fn receive() -> Tree {
    object! {
        "action" => "receive",
        "title" => "Listen to events",
        "description" => "At least once. Each event of a member is first delivered after those with a lower seq; one \
            that comes again has the same event_id.",
        "channel" => reference(&format!("channels/{}", exchange_id(topology::EVENTS))),
        "bindings" => object! {
            "amqp" => object! {
                "deliveryMode" => i64::from(PERSISTENT),
                "mandatory" => false,
                "timestamp" => true,
                "bindingVersion" => BINDING_VERSION,
            },
        },
    }
}

pub(super) fn messages() -> Tree {
    of_each_type(|it| reference(&format!("components/messages/{it}")))
}

pub(super) fn message(event_type: EventType) -> Tree {
    object! {
        "name" => event_type.as_str(),
        "title" => format!("Event {event_type}"),
        "summary" => meaning(event_type),
        "traits" => vec![reference("components/messageTraits/event")],
        "payload" => reference(&format!("components/schemas/{event_type}")),
    }
}

pub(super) fn message_trait() -> Tree {
    object! {
        "contentType" => CONTENT_TYPE,
        "description" => "One JSON object in UTF-8. No address and no name of a member ever stands in it.",
        "correlationId" => object! {
            "description" => "The command that did it; its receipt says more.",
            "location" => "$message.payload#/command_id",
        },
        "bindings" => object! {
            "amqp" => object! { "messageType" => MESSAGE_TYPE, "bindingVersion" => BINDING_VERSION },
        },
        "x-properties" => properties(),
    }
}

/// JSON Schema of the AMQP properties. AsyncAPI's bindings have no place for most of them.
fn properties() -> Tree {
    let text = |what: &str| object! { "type" => "string", "description" => what };
    object! {
        "type" => "object",
        "required" => Tree::texts(["delivery_mode", "content_type", "type", "message_id", "timestamp", "app_id"]),
        "properties" => object! {
            "delivery_mode" => object! { "const" => i64::from(PERSISTENT) },
            "content_type" => object! { "const" => CONTENT_TYPE },
            "type" => object! { "const" => MESSAGE_TYPE },
            "message_id" => text("The event_id."),
            "timestamp" => object! { "type" => "integer", "description" => "When it was decided, seconds since 1970." },
            "app_id" => object! { "const" => "loyalty" },
        },
    }
}
