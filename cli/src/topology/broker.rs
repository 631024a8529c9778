//! What AMQP itself shows: whether an exchange or queue is there, and whether the broker takes it for the one that is
//! wanted. It compares the arguments that it knows and passes over the others.

use anyhow::Context as _;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Connection, ErrorKind};
use loyalty_common::queue_probe;
use loyalty_common::topology::{Argument, Exchange, Impact, Queue, Topology, field_table};

use super::difference::{Difference, Kind};

/// What cannot be seen this way, and what would show it.
pub(super) const NOT_SEEN: [&str; 6] = [
    "arguments that RabbitMQ does not know, such as misspelt ones",
    "bindings",
    "policies",
    "whether each queue has a running leader",
    "retry queues that the retry schedule no longer names",
    "the server's version (the management API shows all this: --management-url)",
];

/// All differences that the broker tells of.
pub(super) async fn differences(connection: &Connection, wanted: &Topology) -> anyhow::Result<Vec<Difference>> {
    let mut differences = Vec::new();
    for exchange in &wanted.exchanges {
        differences.extend(compare_exchange(connection, exchange).await?);
    }
    for queue in &wanted.queues {
        differences.extend(compare_queue(connection, queue).await?);
    }
    Ok(differences)
}

async fn compare_exchange(connection: &Connection, exchange: &Exchange) -> anyhow::Result<Option<Difference>> {
    let declare = async |passive| {
        let channel = connection.create_channel().await?;
        let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
        let arguments = if passive { FieldTable::default() } else { field_table(&exchange.arguments) };
        channel.exchange_declare(exchange.name.into(), exchange.kind.clone(), options, arguments).await?;
        channel.close(REPLY_SUCCESS, "done".into()).await
    };
    let refusal = compare(exchange.name, declare).await?;
    Ok(refusal.map(|refusal| refusal.difference(Kind::Exchange, exchange.name, &exchange.arguments)))
}

async fn compare_queue(connection: &Connection, queue: &Queue) -> anyhow::Result<Option<Difference>> {
    let declare = async |passive| {
        let channel = connection.create_channel().await?;
        if passive {
            queue_probe::ask(&channel, &queue.name).await?;
        } else {
            let (name, arguments) = (queue.name.as_str().into(), field_table(&queue.arguments));
            channel.queue_declare(name, QueueDeclareOptions::durable(), arguments).await?;
        }
        channel.close(REPLY_SUCCESS, "done".into()).await
    };
    let refusal = compare(&queue.name, declare).await?;
    Ok(refusal.map(|refusal| refusal.difference(Kind::Queue, &queue.name, &queue.arguments)))
}

/// Why the broker does not take an exchange or queue for ours.
enum Refusal {
    Missing,
    Different(String),
}

/// Asks passively first, which makes nothing; declares only what stands already, which changes nothing either and
/// makes the broker compare. Each refusal closes its channel, so each question has its own.
async fn compare(
    name: &str,
    declare: impl AsyncFn(bool) -> Result<(), lapin::Error>,
) -> anyhow::Result<Option<Refusal>> {
    for passive in [true, false] {
        let Err(error) = declare(passive).await else { continue };
        let ErrorKind::ProtocolError(told) = error.kind() else {
            return Err(error).with_context(|| format!("could not ask for {name}"));
        };
        return match told.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Ok(Some(Refusal::Missing)),
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => Ok(Some(Refusal::Different(told.to_string()))),
            AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => {
                Err(error).with_context(|| format!("the broker does not say how {name} stands"))
            }
        };
    }
    Ok(None)
}

impl Refusal {
    fn difference(&self, kind: Kind, name: &str, arguments: &[Argument]) -> Difference {
        match self {
            Self::Missing => Difference::new(kind, name, "is missing", Impact::Missing),
            Self::Different(told) => {
                // What follows the error's own name: "inequivalent arg 'x-delivery-limit' for queue ...".
                let what = told.split_once(" - ").map_or(told.as_str(), |(_, detail)| detail);
                let named = |argument: &&Argument| what.contains(&format!("'{}'", argument.name));
                // One that none of ours is named in is about its type or whether it is durable.
                let breaks = arguments.iter().find(named).map_or(Impact::Perishable, |argument| argument.breaks);
                Difference::new(kind, name, what, breaks)
            }
        }
    }
}
