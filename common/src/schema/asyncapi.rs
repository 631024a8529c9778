//! AsyncAPI 3.0 of the topology, written from the side of other systems: what they send, where that goes, and what they
//! may listen to.
//!
//! Exchanges and queues are those of [`Topology`], with the retry schedule of a fresh installation and with events. The text that
//! stands in `docs/asyncapi.yaml` was found valid by the official parser; after a change, in an empty directory:
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

use crate::command::{BODY_MAX_BYTES, CommandType, MESSAGE_TYPE, VERSION};
use crate::envelope::{APP_ID_MAX_BYTES, CONTENT_TYPE, PERSISTENT};
use crate::event::EventType;
use crate::partition::{PARTITIONS, Partition};
use crate::schema::command::{alternative, purpose};
use crate::schema::tree::{Tree, object};
use crate::schema::value::number;
use crate::schema::{event, headers};
use crate::topology::{self, Argument, Exchange, Queue, RetryDelay, Topology, Value};

/// The version of the AMQP bindings that the document uses.
const BINDING_VERSION: &str = "0.3.0";

/// The whole document.
pub(super) fn document() -> Tree {
    object! {
        "asyncapi" => "3.0.0",
        "info" => object! {
            "title" => "loyalty",
            "version" => VERSION.to_string(),
            "description" => "Commands about members of a loyalty programme, over RabbitMQ, as other systems see it. \
                A command that the broker confirmed is applied, refused with a recorded reason, parked until its \
                member enrols, or kept as a dead letter. Publish it again under the same id whenever you are not sure.",
        },
        "defaultContentType" => CONTENT_TYPE,
        "channels" => channels(&Topology::new(&RetryDelay::default_schedule()).with_events(true)),
        "operations" => object! { "publishCommand" => publish_command(), "receiveEvent" => events::receive() },
        "components" => object! {
            "messages" => of_each_type(message).and(events::of_each_type(events::message)),
            "messageTraits" => object! { "command" => message_trait(), "event" => events::message_trait() },
            "schemas" => of_each_type(alternative).and(events::of_each_type(event::alternative)),
        },
    }
}

fn of_each_type(describe: impl Fn(CommandType) -> Tree) -> Tree {
    Tree::fields(CommandType::ALL.iter().map(|it| (it.to_string(), describe(*it))))
}

fn reference(place: &str) -> Tree {
    object! { "$ref" => format!("#/{place}") }
}

// --- Where -----------------------------------------------------------------------------------------------------------

/// One channel for each exchange and each queue; the queues of the partitions, which differ by their number only, are
/// one.
fn channels(topology: &Topology) -> Tree {
    let exchanges = topology.exchanges.iter().map(|it| (exchange_id(it.name), exchange(it, &topology.queues)));
    let mut partitions = Partition::all().map(Partition::queue);
    let first = partitions.next().expect("there are partitions");
    let others: Vec<String> = partitions.collect();
    let queues = topology.queues.iter().filter(|it| !others.contains(&it.name)).map(|it| {
        let is_partition = it.name == first;
        if is_partition { (queue_id(topology::COMMANDS), command_queues(it)) } else { (queue_id(&it.name), queue(it)) }
    });
    Tree::fields(exchanges.chain(queues))
}

fn exchange_id(name: &str) -> String {
    format!("exchange-{}", name.replace('.', "-"))
}

fn queue_id(name: &str) -> String {
    format!("queue-{}", name.replace('.', "-"))
}

fn exchange(exchange: &Exchange, queues: &[Queue]) -> Tree {
    let mut channel = vec![("title".to_owned(), Tree::from(format!("Exchange {}", exchange.name)))];
    let mut add = |name: &str, value: Tree| channel.push((name.to_owned(), value));
    if exchange.kind != ExchangeKind::Fanout {
        let keys = keys_of(exchange, queues);
        add("address", "{routingKey}".into());
        add("parameters", object! { "routingKey" => object! { "enum" => Tree::texts(keys) } });
    }
    if exchange.name == topology::COMMANDS {
        add("description", routing().into());
        add("messages", messages());
    }
    if exchange.name == topology::EVENTS {
        add("description", events::ABOUT.into());
        add("messages", events::messages());
    }
    add(
        "bindings",
        binding(
            "routingKey",
            "exchange",
            object! {
                "name" => exchange.name,
                "type" => kind(&exchange.kind),
                "durable" => true,
                "autoDelete" => false,
            },
        ),
    );
    add("x-arguments", arguments(&exchange.arguments));
    Tree::Object(channel)
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

fn queue(queue: &Queue) -> Tree {
    let bindings = queue.bindings.iter();
    queue_channel(
        &queue.name,
        "Inside: nothing for publishers.",
        &queue.arguments,
        bindings.map(|(exchange, key)| object! { "exchange" => *exchange, "routingKey" => key.as_str() }).collect(),
    )
}

/// All queues of the partitions, by the example of the first.
fn command_queues(first: &Queue) -> Tree {
    let name = format!("{}.{{partition}}", topology::COMMANDS);
    let bound = vec![object! { "exchange" => topology::COMMANDS, "routingKey" => "{partition}" }];
    let about = "Where the commands of a partition wait for the one worker that applies them in order.";
    let channel = queue_channel(&name, about, &first.arguments, bound);
    let partitions = Tree::texts(Partition::all());
    channel.with("parameters", object! { "partition" => object! { "enum" => partitions } }).with("messages", messages())
}

fn queue_channel(name: &str, about: &str, with: &[Argument], bound: Vec<Tree>) -> Tree {
    object! {
        "title" => format!("Queue {name}"),
        "address" => name,
        "description" => about,
        "bindings" => binding("queue", "queue", object! {
            "name" => name,
            "durable" => true,
            "exclusive" => false,
            "autoDelete" => false,
        }),
        "x-arguments" => arguments(with),
        "x-bound-to" => bound,
    }
}

fn binding(is: &str, name: &str, value: Tree) -> Tree {
    object! { "amqp" => object! { "is" => is, name => value, "bindingVersion" => BINDING_VERSION } }
}

fn arguments(arguments: &[Argument]) -> Tree {
    let value = |value: &Value| match value {
        Value::Text(text) => Tree::from(text.as_str()),
        Value::Number(number) => Tree::from(*number),
        Value::Switch(on) => Tree::from(*on),
    };
    Tree::fields(arguments.iter().map(|argument| (argument.name.to_owned(), value(&argument.value))))
}

// --- What ------------------------------------------------------------------------------------------------------------

fn publish_command() -> Tree {
    object! {
        "action" => "send",
        "title" => "Publish a command",
        "description" => "With publisher confirms: only a confirmed message is promised to be applied. A nack says \
            that the queue is full or has no leader; a return, that the exchanges and queues are not complete; no confirm \
            in time says nothing: send it again under the same id.",
        "channel" => reference(&format!("channels/{}", exchange_id(topology::COMMANDS))),
        "bindings" => object! {
            "amqp" => object! {
                "deliveryMode" => i64::from(PERSISTENT),
                "mandatory" => true,
                "timestamp" => true,
                "bindingVersion" => BINDING_VERSION,
            },
        },
    }
}

fn messages() -> Tree {
    of_each_type(|it| reference(&format!("components/messages/{it}")))
}

fn message(command_type: CommandType) -> Tree {
    object! {
        "name" => command_type.as_str(),
        "title" => format!("Command {command_type}"),
        "summary" => purpose(command_type),
        "traits" => vec![reference("components/messageTraits/command")],
        "payload" => reference(&format!("components/schemas/{command_type}")),
    }
}

fn message_trait() -> Tree {
    object! {
        "contentType" => CONTENT_TYPE,
        "description" => format!("One JSON object in UTF-8, at most {BODY_MAX_BYTES} bytes."),
        "correlationId" => object! {
            "description" => "Says which receipt belongs to the message, and makes a repeat harmless.",
            "location" => "$message.payload#/command_id",
        },
        "headers" => headers::schema(),
        "bindings" => object! {
            "amqp" => object! { "messageType" => MESSAGE_TYPE, "bindingVersion" => BINDING_VERSION },
        },
        "x-properties" => properties(),
    }
}

/// JSON Schema of the AMQP properties. AsyncAPI's bindings have no place for most of them.
fn properties() -> Tree {
    object! {
        "type" => "object",
        "required" => Tree::texts(["delivery_mode"]),
        "properties" => object! {
            "delivery_mode" => object! { "const" => i64::from(PERSISTENT) },
            "content_type" => object! { "const" => CONTENT_TYPE },
            "type" => object! {
                "const" => MESSAGE_TYPE,
                "description" => "Another value is set aside, a missing one is understood.",
            },
            "message_id" => object! {
                "type" => "string",
                "description" => "The command_id. Another value is set aside, a missing one is understood.",
            },
            "timestamp" => object! { "type" => "integer", "description" => "When it was sent, seconds since 1970." },
            "app_id" => object! {
                "type" => "string",
                "maxLength" => number(APP_ID_MAX_BYTES),
                "description" => "Who sent it.",
            },
        },
    }
}
