//! The exchanges and queues, as data: what `loyalty topology` declares and `--check` compares with.
//!
//! Everything is durable, every queue is a quorum queue, and every argument is set explicitly, because what a broker
//! does by default differs between its versions. RabbitMQ ignores an argument that it does not know: keep the names
//! exact.

use std::fmt;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use crate::partition::Partition;
use crate::text::Invalid;

/// Where commands are published.
pub const COMMANDS: &str = "loyalty.commands";
/// Where mails are published; also the name of the queue of mails to send.
pub const EMAILS: &str = "loyalty.emails";
/// The dead-letter exchange.
pub const DEAD: &str = "loyalty.dead";
/// What no routing key matched: the exchange and its queue.
pub const UNROUTED: &str = "loyalty.unrouted";
/// Commands that killed their worker again and again.
pub const DEAD_COMMANDS: &str = "loyalty.dead.commands";
/// Mails that killed their mailer again and again.
pub const DEAD_EMAILS: &str = "loyalty.dead.emails";
/// The routing key of mails to send now.
pub const SEND_KEY: &str = "send";

/// The most messages of one queue. A full queue refuses what is published, and the publisher hears of it; without a
/// bound, a broker's disk fills and stops everybody.
pub const QUEUE_MAX_MESSAGES: i64 = 1_000_000;
/// Deliveries before a command or mail counts as one that kills its consumer. Far above what restarts cause; never
/// unset, since the default differs between versions (none in 3.x, 20 in 4.x).
pub const DELIVERY_LIMIT: i64 = 200;
/// Deliveries of a dead letter that the keeper could not store: practically unbounded, since there is nowhere else
/// to go, but set, for the same reason.
pub const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;

/// A step of the mails' retry ladder: how long a mail waits. The queue's name carries the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rung(Duration);

impl Rung {
    /// The rung of a text such as `10s`, `5m`, `6h`: whole seconds, one second to one day.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const DAY_SECONDS: u64 = 24 * 60 * 60;
        let wrong = || Invalid::new("must be a time such as 10s, 5m or 6h, from 1s to 24h");
        let unit_seconds = match text.bytes().last() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            _ => return Err(wrong()),
        };
        let digits = &text[..text.len() - 1];
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        let seconds = count.checked_mul(unit_seconds).ok_or_else(wrong)?;
        if (1..=DAY_SECONDS).contains(&seconds) { Ok(Self(Duration::from_secs(seconds))) } else { Err(wrong()) }
    }

    /// How long a mail waits on this rung.
    pub const fn wait(self) -> Duration {
        self.0
    }

    /// The routing key that leads to the rung.
    pub fn routing_key(self) -> String {
        format!("retry.{self}")
    }

    /// The rung's queue.
    pub fn queue(self) -> String {
        format!("{EMAILS}.retry.{self}")
    }

    /// The ladder that a fresh installation has: a hiccup, a restart, a greylist, an outage, a bad night.
    pub fn default_ladder() -> Vec<Self> {
        [10, 60, 600, 3600, 6 * 3600].into_iter().map(|seconds| Self(Duration::from_secs(seconds))).collect()
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            s if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s if s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

/// The value of a queue's or exchange's argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
    /// A switch.
    Switch(bool),
}

/// The named arguments of a queue or exchange.
pub type Arguments = Vec<(&'static str, Argument)>;

/// An exchange as it should stand.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its name.
    pub name: &'static str,
    /// How it routes.
    pub kind: ExchangeKind,
    /// Its arguments.
    pub arguments: Arguments,
}

/// A queue as it should stand, with the bindings that lead to it.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// (exchange, routing key).
    pub bindings: Vec<(&'static str, String)>,
    /// Its arguments.
    pub arguments: Arguments,
}

/// Everything that must stand on the broker.
#[derive(Clone, Debug)]
pub struct Topology {
    /// The exchanges.
    pub exchanges: Vec<Exchange>,
    /// The queues, targets of dead letters before their sources.
    pub queues: Vec<Queue>,
}

impl Topology {
    /// The topology with this retry ladder.
    pub fn new(ladder: &[Rung]) -> Self {
        let mut queues = vec![
            keeping_queue(DEAD_COMMANDS, DEAD, "command"),
            keeping_queue(DEAD_EMAILS, DEAD, "email"),
            keeping_queue(UNROUTED, UNROUTED, ""),
            emails_queue(),
        ];
        queues.extend(ladder.iter().map(|rung| rung_queue(*rung)));
        queues.extend(Partition::all().map(command_queue));
        Self { exchanges: exchanges(), queues }
    }

    /// Declares everything. Repeating it changes nothing; a queue that stands with other arguments is an error that
    /// closes the channel.
    pub async fn declare(&self, channel: &Channel) -> Result<(), DeclareError> {
        for exchange in &self.exchanges {
            exchange.declare(channel).await.map_err(|source| DeclareError { name: exchange.name.into(), source })?;
        }
        for queue in &self.queues {
            queue.declare(channel).await.map_err(|source| DeclareError { name: queue.name.clone(), source })?;
        }
        Ok(())
    }
}

/// The broker refused an exchange or queue, usually because it stands there with other arguments.
#[derive(Debug, thiserror::Error)]
#[error("could not declare {name}")]
pub struct DeclareError {
    /// Which.
    pub name: String,
    /// What the broker said.
    pub source: lapin::Error,
}

impl Exchange {
    async fn declare(&self, channel: &Channel) -> Result<(), lapin::Error> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(self.name.into(), self.kind.clone(), options, field_table(&self.arguments)).await
    }
}

impl Queue {
    async fn declare(&self, channel: &Channel) -> Result<(), lapin::Error> {
        let arguments = field_table(&self.arguments);
        channel.queue_declare(self.name.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;
        for (exchange, key) in &self.bindings {
            let (name, exchange, key) = (self.name.as_str().into(), (*exchange).into(), key.as_str().into());
            channel.queue_bind(name, exchange, key, QueueBindOptions::default(), FieldTable::default()).await?;
        }
        Ok(())
    }
}

fn exchanges() -> Vec<Exchange> {
    let exchange = |name, kind, arguments| Exchange { name, kind, arguments };
    vec![
        exchange(UNROUTED, ExchangeKind::Fanout, vec![]),
        exchange(DEAD, ExchangeKind::Direct, vec![]),
        exchange(COMMANDS, ExchangeKind::Direct, vec![("alternate-exchange", text(UNROUTED))]),
        exchange(EMAILS, ExchangeKind::Direct, vec![]),
    ]
}

/// One partition: a single active consumer keeps the order of its members.
fn command_queue(partition: Partition) -> Queue {
    let mut arguments = consumed(DELIVERY_LIMIT);
    arguments.push(("x-single-active-consumer", Argument::Switch(true)));
    arguments.extend(dead_lettered_to(DEAD, "command"));
    Queue { name: partition.queue(), bindings: vec![(COMMANDS, partition.routing_key())], arguments }
}

fn emails_queue() -> Queue {
    let mut arguments = consumed(DELIVERY_LIMIT);
    arguments.extend(dead_lettered_to(DEAD, "email"));
    Queue { name: EMAILS.to_owned(), bindings: vec![(EMAILS, SEND_KEY.to_owned())], arguments }
}

/// One rung: nobody consumes it; when its time is up the broker moves the message back to the mails to send. One
/// queue per delay, because messages expire only at the head of a queue.
fn rung_queue(rung: Rung) -> Queue {
    let ttl_ms = i64::try_from(rung.wait().as_millis()).expect("a rung is at most a day");
    let mut arguments = bounded();
    arguments.push(("x-message-ttl", Argument::Number(ttl_ms)));
    arguments.extend(dead_lettered_to(EMAILS, SEND_KEY));
    Queue { name: rung.queue(), bindings: vec![(EMAILS, rung.routing_key())], arguments }
}

/// A queue that keeps what nobody could use until the keeper has stored it.
fn keeping_queue(name: &str, exchange: &'static str, key: &str) -> Queue {
    Queue {
        name: name.to_owned(),
        bindings: vec![(exchange, key.to_owned())],
        arguments: consumed(DEAD_DELIVERY_LIMIT),
    }
}

fn bounded() -> Arguments {
    vec![
        ("x-queue-type", text("quorum")),
        // Refusing at the door is also what at-least-once dead-lettering requires of its source.
        ("x-overflow", text("reject-publish")),
        ("x-max-length", Argument::Number(QUEUE_MAX_MESSAGES)),
    ]
}

fn consumed(delivery_limit: i64) -> Arguments {
    let mut arguments = bounded();
    arguments.push(("x-delivery-limit", Argument::Number(delivery_limit)));
    arguments
}

fn dead_lettered_to(exchange: &str, key: &str) -> Arguments {
    vec![
        ("x-dead-letter-exchange", text(exchange)),
        ("x-dead-letter-routing-key", text(key)),
        ("x-dead-letter-strategy", text("at-least-once")),
    ]
}

fn text(value: &str) -> Argument {
    Argument::Text(value.to_owned())
}

/// The arguments as lapin wants them.
pub fn field_table(arguments: &Arguments) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
            Argument::Switch(on) => AMQPValue::Boolean(*on),
        };
        table.insert((*name).into(), value);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rung_is_written_as_it_is_read() {
        let check = |text: &str, seconds: Option<u64>| {
            let rung = Rung::parse(text).ok();
            assert_eq!(rung.map(|rung| rung.wait().as_secs()), seconds, "{text}");
            assert_eq!(rung.map(|rung| rung.to_string()), seconds.map(|_| text.to_owned()));
        };
        check("10s", Some(10));
        check("1m", Some(60));
        check("6h", Some(21600));
        for wrong in ["", "s", "0s", "10", "10d", "25h", "-1s", "99999999999999999999s", "1.5h", "é"] {
            check(wrong, None);
        }
    }

    #[test]
    fn every_queue_is_a_bounded_quorum_queue_that_refuses_when_full() {
        let topology = Topology::new(&Rung::default_ladder());
        assert_eq!(topology.queues.len(), 16 + 1 + 5 + 3);
        for queue in &topology.queues {
            for needed in bounded() {
                assert!(queue.arguments.contains(&needed), "{} lacks {needed:?}", queue.name);
            }
        }
    }
}
