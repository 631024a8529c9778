//! Verbs of somebody who listens to events, as other systems do: a queue of their own, bound by the keys they want.

use std::collections::{BTreeSet, HashMap};

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection};
use loyalty_common::{amqp, topology};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::world::World;
use loyalty_local::wait::eventually;

/// An event as it came.
#[derive(Clone, Debug)]
pub struct ReceivedEvent {
    pub key: String,
    pub properties: BasicProperties,
    pub body: Value,
}

impl ReceivedEvent {
    fn of(delivery: &Delivery) -> Self {
        Self {
            key: delivery.routing_key.to_string(),
            properties: delivery.properties.clone(),
            body: serde_json::from_slice(&delivery.data).expect("an event is JSON"),
        }
    }

    /// A field of the body that is a whole number.
    pub fn number(&self, field: &str) -> i64 {
        self.body[field].as_i64().unwrap_or_else(|| panic!("{field} is a number in {}", self.body))
    }

    /// A field of the body that is text.
    pub fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_else(|| panic!("{field} is text in {}", self.body))
    }

    pub fn message_id(&self) -> &str {
        self.properties.message_id().as_ref().map(ShortString::as_str).expect("an event has an id")
    }
}

/// Somebody who takes events as they come.
#[derive(Debug)]
pub struct EventListener {
    connection: Connection,
    hearing: JoinHandle<Vec<ReceivedEvent>>,
}

impl EventListener {
    /// Goes away, and tells what was heard.
    pub async fn close(self) -> Vec<ReceivedEvent> {
        amqp::close(&self.connection).await;
        self.hearing.await.expect("every event is JSON")
    }
}

impl World {
    /// Makes a queue that hears of events with these keys from now on.
    pub async fn listen(&self, queue: &str, keys: &[&str]) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        self.listen_with(queue, keys, arguments).await;
    }

    /// The same with these arguments for the queue.
    pub async fn listen_with(&self, queue: &str, keys: &[&str], arguments: FieldTable) {
        let connection = amqp::connect(&self.amqp(), "listener").await.expect("a connection to the broker");
        let channel = connection.create_channel().await.expect("a channel");
        channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await.expect("a queue");
        for key in keys {
            let (exchange, options) = (topology::EVENTS.into(), QueueBindOptions::default());
            let bound = channel.queue_bind(queue.into(), exchange, (*key).into(), options, FieldTable::default());
            bound.await.expect("a binding");
        }
        amqp::close(&connection).await;
    }

    /// Waits until every event has been published.
    pub async fn events_published(&self) {
        eventually("every event is published", async || (self.count("event_outbox").await == 0).then_some(())).await;
    }

    /// Begins to take what comes to a queue, one event after the other.
    pub async fn start_listening(&self, queue: &str) -> EventListener {
        let connection = amqp::connect(&self.amqp(), "listener").await.expect("a connection to the broker");
        let channel = connection.create_channel().await.expect("a channel");
        channel.basic_qos(1, BasicQosOptions::default()).await.expect("one at a time");
        let (tag, options) = ("listener".into(), BasicConsumeOptions::default());
        let consumer = channel.basic_consume(queue.into(), tag, options, FieldTable::default());
        let mut consumer = consumer.await.expect("the queue stands");
        let hearing = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Some(Ok(delivery)) = consumer.next().await {
                heard.push(ReceivedEvent::of(&delivery));
                // What is not acknowledged, because we close, was heard all the same.
                let _ = delivery.acker.ack(BasicAckOptions::default()).await;
            }
            heard
        });
        EventListener { connection, hearing }
    }

    /// Takes everything that a queue holds.
    pub async fn received_events(&self, queue: &str) -> Vec<ReceivedEvent> {
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
    pub async fn received_in_order(&self, heard: &[ReceivedEvent]) {
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

async fn take(channel: &Channel, queue: &str) -> Option<ReceivedEvent> {
    let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.expect("the queue stands")?;
    Some(ReceivedEvent::of(&got.delivery))
}
