//! The exchanges and queues, as data: what `loyalty topology` declares and `--check` compares with.
//!
//! Everything is durable, every queue is a quorum queue, and every argument is set explicitly, because what a broker
//! does by default differs between its versions. RabbitMQ ignores an argument that it does not know: keep the names
//! exact.

mod argument;
mod impact;
mod retry_delay;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};

pub use argument::{Argument, Value, field_table};
pub use impact::{Impact, LIMITS};
pub use retry_delay::RetryDelay;

use crate::partition::Partition;

/// Where commands are published.
pub const COMMANDS: &str = "loyalty.commands";
/// Where emails are published; also the name of the queue of emails to send.
pub const EMAILS: &str = "loyalty.emails";
/// The dead-letter exchange.
pub const DEAD: &str = "loyalty.dead";
/// What no routing key matched: the exchange and its queue.
pub const UNROUTED: &str = "loyalty.unrouted";
/// Where events are published, if they are switched on. Whoever listens binds a queue of their own.
pub const EVENTS: &str = "loyalty.events";
/// Commands that killed their worker again and again.
pub const DEAD_COMMANDS: &str = "loyalty.dead.commands";
/// Emails that killed their mailer again and again.
pub const DEAD_EMAILS: &str = "loyalty.dead.emails";
/// The routing key of emails to send now.
pub const SEND_KEY: &str = "send";

/// The most messages of one queue. A full queue refuses what is published, and the publisher hears of it; without a
/// bound, a broker's disk fills and stops everybody.
pub const QUEUE_MAX_MESSAGES: i64 = 1_000_000;
/// Deliveries before a command or email counts as one that kills its consumer. Far above what restarts cause; never
/// unset, since the default differs between versions (none in 3.x, 20 in 4.x).
pub const DELIVERY_LIMIT: i64 = 200;
/// Deliveries of a dead letter that the worker could not store: practically unbounded, since there is nowhere else
/// to go, but set, for the same reason.
pub const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;

/// An exchange as it should stand.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its name.
    pub name: &'static str,
    /// How it routes.
    pub kind: ExchangeKind,
    /// Its arguments.
    pub arguments: Vec<Argument>,
}

/// A queue as it should stand, with the bindings that lead to it.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// (exchange, routing key).
    pub bindings: Vec<(&'static str, String)>,
    /// Its arguments.
    pub arguments: Vec<Argument>,
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
    /// The topology with this retry schedule.
    pub fn new(retry_schedule: &[RetryDelay]) -> Self {
        let mut queues = vec![
            keeping_queue(DEAD_COMMANDS, DEAD, "command"),
            keeping_queue(DEAD_EMAILS, DEAD, "email"),
            keeping_queue(UNROUTED, UNROUTED, ""),
            emails_queue(),
        ];
        queues.extend(retry_schedule.iter().map(|delay| retry_queue(*delay)));
        queues.extend(Partition::all().map(command_queue));
        Self { exchanges: exchanges(), queues }
    }

    /// The same, and where events are published if they are switched on. No alternate exchange: an event that nobody
    /// listens for is of no use to anybody.
    #[must_use]
    pub fn with_events(mut self, switched_on: bool) -> Self {
        if switched_on {
            self.exchanges.push(Exchange { name: EVENTS, kind: ExchangeKind::Topic, arguments: vec![] });
        }
        self
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
    let alternate = Argument::text("alternate-exchange", UNROUTED, Impact::Unrouted);
    vec![
        exchange(UNROUTED, ExchangeKind::Fanout, vec![]),
        exchange(DEAD, ExchangeKind::Direct, vec![]),
        exchange(COMMANDS, ExchangeKind::Direct, vec![alternate]),
        exchange(EMAILS, ExchangeKind::Direct, vec![]),
    ]
}

/// One partition: a single active consumer keeps the order of its members.
fn command_queue(partition: Partition) -> Queue {
    let mut arguments = consumed(DELIVERY_LIMIT);
    arguments.push(Argument::switch("x-single-active-consumer", true, Impact::Order));
    arguments.extend(dead_lettered_to(DEAD, "command", Impact::DeadLetters));
    Queue { name: partition.queue(), bindings: vec![(COMMANDS, partition.routing_key())], arguments }
}

fn emails_queue() -> Queue {
    let mut arguments = consumed(DELIVERY_LIMIT);
    arguments.extend(dead_lettered_to(DEAD, "email", Impact::DeadLetters));
    Queue { name: EMAILS.to_owned(), bindings: vec![(EMAILS, SEND_KEY.to_owned())], arguments }
}

/// A retry queue: nobody consumes it; when its time is up the broker moves the message back to the emails to send. One
/// queue per delay, because messages expire only at the head of a queue.
fn retry_queue(delay: RetryDelay) -> Queue {
    let ttl_ms = i64::try_from(delay.wait().as_millis()).expect("a delay is at most a day");
    let mut arguments = bounded();
    arguments.push(Argument::number("x-message-ttl", ttl_ms, Impact::RetrySchedule));
    arguments.extend(dead_lettered_to(EMAILS, SEND_KEY, Impact::NeverBack));
    Queue { name: delay.queue(), bindings: vec![(EMAILS, delay.routing_key())], arguments }
}

/// A queue that keeps what nobody could use until the worker has stored it.
fn keeping_queue(name: &str, exchange: &'static str, key: &str) -> Queue {
    Queue {
        name: name.to_owned(),
        bindings: vec![(exchange, key.to_owned())],
        arguments: consumed(DEAD_DELIVERY_LIMIT),
    }
}

fn bounded() -> Vec<Argument> {
    vec![
        Argument::text("x-queue-type", "quorum", Impact::Perishable),
        // Refusing at the door is also what at-least-once dead-lettering requires of its source.
        Argument::text("x-overflow", "reject-publish", Impact::Dropped),
        Argument::number("x-max-length", QUEUE_MAX_MESSAGES, Impact::Bound),
    ]
}

fn consumed(delivery_limit: i64) -> Vec<Argument> {
    let mut arguments = bounded();
    arguments.push(Argument::number("x-delivery-limit", delivery_limit, Impact::DeliveryLimit));
    arguments
}

fn dead_lettered_to(exchange: &str, key: &str, breaks: Impact) -> [Argument; 3] {
    [
        Argument::text("x-dead-letter-exchange", exchange, breaks),
        Argument::text("x-dead-letter-routing-key", key, breaks),
        Argument::text("x-dead-letter-strategy", "at-least-once", breaks),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_is_a_bounded_quorum_queue_that_refuses_when_full() {
        let topology = Topology::new(&RetryDelay::default_schedule());
        assert_eq!(topology.queues.len(), 16 + 1 + 5 + 3);
        for queue in &topology.queues {
            for needed in bounded() {
                assert!(queue.arguments.contains(&needed), "{} lacks {needed:?}", queue.name);
            }
        }
    }
}
