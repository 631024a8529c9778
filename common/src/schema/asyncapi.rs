//! AsyncAPI 3.0 of the topology, written from the side of other systems: what they send, where that goes, and what they
//! may listen to.
//!
//! Exchanges and queues are those of [`Topology`], with the retry schedule of a fresh installation and with events. The
//! text that stands in `docs/asyncapi.yaml` was found valid by the official parser; after a change, in an empty
//! directory:
//!
//! ```sh
//! npm install @asyncapi/parser
//! node -e 'new (require("@asyncapi/parser").Parser)().parse(require("fs").readFileSync(process.argv[1], "utf8"))
//!     .then(({ diagnostics }) => console.log(diagnostics))' path/to/docs/asyncapi.yaml
//! ```
//!
//! It should print nothing but hints of the class "information".

mod events;

use lapin::ExchangeKind;
use serde_json::{Map, Value, json};

use crate::command::{BODY_MAX_BYTES, CommandType, MESSAGE_TYPE, VERSION};
use crate::envelope::{APP_ID_MAX_BYTES, CONTENT_TYPE, PERSISTENT};
use crate::event::EventType;
use crate::partition::{PARTITIONS, Partition};
use crate::schema::command::alternative;
use crate::schema::{event, headers};
use crate::topology::{self, Argument, Exchange, Queue, RetryDelay, Topology};

/// The version of the AMQP bindings that the document uses.
const BINDING_VERSION: &str = "0.3.0";

/// The whole document.
pub(super) fn document() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "loyalty",
            "version": VERSION.to_string(),
            "description": "Commands about members of a loyalty programme, over RabbitMQ, as other systems see it. \
                A command that the broker confirmed is applied, refused with a recorded reason, parked until its \
                member enrols, or kept as a dead letter. Publish it again under the same id whenever you are not sure.",
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": channels(&Topology::new(&RetryDelay::default_schedule()).with_events(true)),
        "operations": { "publishCommand": publish_command(), "receiveEvent": events::receive() },
        "components": {
            "messages": of_each_type(message).chain(events::of_each_type(events::message)).collect::<Value>(),
            "messageTraits": { "command": message_trait(), "event": events::message_trait() },
            "schemas": of_each_type(alternative).chain(events::of_each_type(event::alternative)).collect::<Value>(),
        },
    })
}

fn of_each_type(describe: impl Fn(CommandType) -> Value) -> impl Iterator<Item = (String, Value)> {
    CommandType::ALL.iter().map(move |it| (it.to_string(), describe(*it)))
}

fn reference(place: &str) -> Value {
    json!({ "$ref": format!("#/{place}") })
}

// --- Where -----------------------------------------------------------------------------------------------------------

/// One channel for each exchange and each queue; the queues of the partitions, which differ by their number only, are
/// one.
fn channels(topology: &Topology) -> Value {
    let exchanges = topology.exchanges.iter().map(|it| (exchange_id(it.name), exchange(it, &topology.queues)));
    let mut partitions = Partition::all().map(Partition::queue);
    let first = partitions.next().expect("there are partitions");
    let others: Vec<String> = partitions.collect();
    let queues = topology.queues.iter().filter(|it| !others.contains(&it.name)).map(|it| {
        let is_partition = it.name == first;
        if is_partition { (queue_id(topology::COMMANDS), command_queues(it)) } else { (queue_id(&it.name), queue(it)) }
    });
    exchanges.chain(queues).collect()
}

fn exchange_id(name: &str) -> String {
    format!("exchange-{}", name.replace('.', "-"))
}

fn queue_id(name: &str) -> String {
    format!("queue-{}", name.replace('.', "-"))
}

fn exchange(exchange: &Exchange, queues: &[Queue]) -> Value {
    let mut channel = json!({"title": format!("Exchange {}", exchange.name)});
    if exchange.kind != ExchangeKind::Fanout {
        channel["address"] = "{routingKey}".into();
        channel["parameters"] = json!({"routingKey": {"enum": keys_of(exchange, queues)}});
    }
    if exchange.name == topology::COMMANDS {
        channel["description"] = routing().into();
        channel["messages"] = messages();
    }
    if exchange.name == topology::EVENTS {
        channel["description"] = events::ABOUT.into();
        channel["messages"] = events::messages();
    }
    let shape = json!({"name": exchange.name, "type": kind(&exchange.kind), "durable": true, "autoDelete": false});
    channel["bindings"] = binding("routingKey", "exchange", shape);
    channel["x-arguments"] = arguments(&exchange.arguments);
    channel
}

/// The keys that something is published with: those that queues of ours are bound with, or else the kinds of events.
fn keys_of<'a>(exchange: &Exchange, queues: &'a [Queue]) -> Vec<&'a str> {
    if exchange.name == topology::EVENTS {
        return EventType::ALL.iter().map(|it| it.as_str()).collect();
    }
    let bindings = queues.iter().flat_map(|queue| &queue.bindings);
    let mut keys: Vec<&str> =
        bindings.filter(|(from, _)| *from == exchange.name).map(|(_, key)| key.as_str()).collect();
    keys.sort_unstable();
    keys
}

fn routing() -> String {
    format!(
        "Where commands are published. The routing key is the partition of the member, two digits: \
         crc32(member_id as UTF-8) mod {PARTITIONS}, CRC-32 as in zlib. docs/partition-vectors.json has test vectors. \
         All commands of a member travel on one queue, so that they stay in order."
    )
}

fn kind(kind: &ExchangeKind) -> &str {
    match kind {
        ExchangeKind::Direct => "direct",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Topic => "topic",
        ExchangeKind::Custom(name) => name,
    }
}

fn queue(queue: &Queue) -> Value {
    let bindings = queue.bindings.iter().map(|(exchange, key)| json!({"exchange": exchange, "routingKey": key}));
    queue_channel(&queue.name, "Inside: nothing for publishers.", &queue.arguments, &bindings.collect::<Vec<_>>())
}

/// All queues of the partitions, by the example of the first.
fn command_queues(first: &Queue) -> Value {
    let name = format!("{}.{{partition}}", topology::COMMANDS);
    let bound = [json!({"exchange": topology::COMMANDS, "routingKey": "{partition}"})];
    let about = "Where the commands of a partition wait for the one worker that applies them in order.";
    let mut channel = queue_channel(&name, about, &first.arguments, &bound);
    let partitions: Vec<String> = Partition::all().map(|it| it.to_string()).collect();
    channel["parameters"] = json!({"partition": {"enum": partitions}});
    channel["messages"] = messages();
    channel
}

fn queue_channel(name: &str, about: &str, with: &[Argument], bound: &[Value]) -> Value {
    json!({
        "title": format!("Queue {name}"),
        "address": name,
        "description": about,
        "bindings": binding("queue", "queue", json!({
            "name": name,
            "durable": true,
            "exclusive": false,
            "autoDelete": false,
        })),
        "x-arguments": arguments(with),
        "x-bound-to": bound,
    })
}

fn binding(is: &str, name: &str, shape: Value) -> Value {
    let named = Map::from_iter([("is".to_owned(), is.into()), (name.to_owned(), shape)]);
    let mut binding = Value::Object(named);
    binding["bindingVersion"] = BINDING_VERSION.into();
    json!({"amqp": binding})
}

fn arguments(arguments: &[Argument]) -> Value {
    let value = |value: &topology::Value| match value {
        topology::Value::Text(text) => Value::from(text.as_str()),
        topology::Value::Number(number) => Value::from(*number),
        topology::Value::Switch(on) => Value::from(*on),
    };
    arguments.iter().map(|argument| (argument.name, value(&argument.value))).collect()
}

// --- What ------------------------------------------------------------------------------------------------------------

fn publish_command() -> Value {
    json!({
        "action": "send",
        "title": "Publish a command",
        "description": "With publisher confirms: only a confirmed message is promised to be applied. A nack says \
            that the queue is full or has no leader; a return, that the exchanges and queues are not complete; no confirm \
            in time says nothing: send it again under the same id.",
        "channel": reference(&format!("channels/{}", exchange_id(topology::COMMANDS))),
        "bindings": {
            "amqp": {
                "deliveryMode": PERSISTENT,
                "mandatory": true,
                "timestamp": true,
                "bindingVersion": BINDING_VERSION,
            },
        },
    })
}

fn messages() -> Value {
    of_each_type(|it| reference(&format!("components/messages/{it}"))).collect()
}

fn message(command_type: CommandType) -> Value {
    json!({
        "name": command_type,
        "title": format!("Command {command_type}"),
        "summary": command_type.about().doc.summary(),
        "traits": [reference("components/messageTraits/command")],
        "payload": reference(&format!("components/schemas/{command_type}")),
    })
}

fn message_trait() -> Value {
    json!({
        "contentType": CONTENT_TYPE,
        "description": format!("One JSON object in UTF-8, at most {BODY_MAX_BYTES} bytes."),
        "correlationId": {
            "description": "Says which receipt belongs to the message, and makes a repeat harmless.",
            "location": "$message.payload#/command_id",
        },
        "headers": headers::schema(),
        "bindings": {
            "amqp": { "messageType": MESSAGE_TYPE, "bindingVersion": BINDING_VERSION },
        },
        "x-properties": properties(),
    })
}

/// JSON Schema of the AMQP properties. AsyncAPI's bindings have no place for most of them.
fn properties() -> Value {
    json!({
        "type": "object",
        "required": ["delivery_mode"],
        "properties": {
            "delivery_mode": { "const": PERSISTENT },
            "content_type": { "const": CONTENT_TYPE },
            "type": {
                "const": MESSAGE_TYPE,
                "description": "Another value is set aside, a missing one is understood.",
            },
            "message_id": {
                "type": "string",
                "description": "The command_id. Another value is set aside, a missing one is understood.",
            },
            "timestamp": { "type": "integer", "description": "When it was sent, seconds since 1970." },
            "app_id": {
                "type": "string",
                "maxLength": APP_ID_MAX_BYTES,
                "description": "Who sent it.",
            },
        },
    })
}
