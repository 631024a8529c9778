//! Verbs of somebody who listens to events, as other systems do: a queue of their own, bound by the keys they want.

use std::collections::{BTreeSet, HashMap};

use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel};
use loyalty_common::{amqp, topology};
use serde_json::Value;

use crate::waiting::eventually;
use crate::world::World;

/// An event as it came.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Its routing key.
    pub key: String,
    /// Its properties.
    pub properties: BasicProperties,
    /// Its body.
    pub body: Value,
}

impl Heard {
    /// A field of the body that is a whole number.
    pub fn number(&self, field: &str) -> i64 {
        self.body[field].as_i64().unwrap_or_else(|| panic!("{field} is a number in {}", self.body))
    }

    /// A field of the body that is text.
    pub fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_else(|| panic!("{field} is text in {}", self.body))
    }

    /// Its `message_id`.
    pub fn message_id(&self) -> &str {
        self.properties.message_id().as_ref().map(ShortString::as_str).expect("an event has an id")
    }
}

impl World {
    /// Makes a queue that hears of events with these keys from now on.
    pub async fn listen(&self, queue: &str, keys: &[&str]) {
        self.listen_with(queue, keys, &FieldTable::default()).await;
    }

    /// The same with more arguments for the queue, which is a quorum queue.
    pub async fn listen_with(&self, queue: &str, keys: &[&str], arguments: &FieldTable) {
        let connection = amqp::connect(&self.amqp(), "listener").await.expect("a connection to the broker");
        let channel = connection.create_channel().await.expect("a channel");
        let mut arguments = arguments.clone();
        arguments.insert("x-queue-type".into(), lapin::types::AMQPValue::LongString("quorum".into()));
        channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await.expect("a queue");
        for key in keys {
            let (exchange, options) = (topology::EVENTS.into(), QueueBindOptions::default());
            let bound = channel.queue_bind(queue.into(), exchange, (*key).into(), options, FieldTable::default());
            bound.await.expect("a binding");
        }
        amqp::close(&connection).await;
    }

    /// Waits until every event has been published.
    pub async fn announced(&self) {
        eventually("every event is published", async || (self.count("event_outbox").await == 0).then_some(())).await;
    }

    /// Takes everything that a queue holds.
    pub async fn heard(&self, queue: &str) -> Vec<Heard> {
        let connection = amqp::connect(&self.amqp(), "listener").await.expect("a connection to the broker");
        let channel = connection.create_channel().await.expect("a channel");
        let mut heard = Vec::new();
        while let Some(one) = take(&channel, queue).await {
            heard.push(one);
        }
        amqp::close(&connection).await;
        heard
    }

    /// What was heard is all that happened, and each event of a member was first heard after those before it.
    pub async fn was_told_in_order(&self, heard: &[Heard]) {
        let mut members: HashMap<&str, Vec<i64>> = HashMap::new();
        let mut known = BTreeSet::new();
        for event in heard {
            // A repeat may come at any time, and is recognised by its id.
            if known.insert(event.message_id()) {
                members.entry(event.text("member_id")).or_default().push(event.number("seq"));
            }
        }
        for (member, seqs) in &members {
            assert!(seqs.is_sorted(), "the events of {member} came as {seqs:?}");
        }
        let told: BTreeSet<(&str, i64)> =
            members.iter().flat_map(|(member, seqs)| seqs.iter().map(|seq| (*member, *seq))).collect();
        let rows = self.query("select member_id, seq from ledger", &[]).await;
        let ledger: BTreeSet<(&str, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(told.len(), ledger.len(), "events and rows of the ledger");
        assert_eq!(told, ledger);
    }
}

async fn take(channel: &Channel, queue: &str) -> Option<Heard> {
    let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.expect("the queue stands")?;
    Some(Heard {
        key: got.delivery.routing_key.to_string(),
        properties: got.delivery.properties.clone(),
        body: serde_json::from_slice(&got.delivery.data).expect("an event is JSON"),
    })
}
