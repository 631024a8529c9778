//! A virtual host of a test's own, and what a producer meets there.

use std::ops::Deref;

use futures_util::StreamExt;
use lapin::ExchangeKind;
use lapin::options::{BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use loyalty_common::Partition;
use loyalty_common::decode::decode;
use loyalty_common::topology::{COMMANDS, Topology};
use loyalty_local::RabbitMq;
use loyalty_producer::{Command, Limits, Producer};
use loyalty_testkit::servers::{InTurn, rabbitmq_in_turn};
use loyalty_testkit::{Vhost, servers};

/// A virtual host.
pub(crate) struct World {
    vhost: Vhost,
    /// The node, if no other test has it meanwhile.
    _turn: Option<InTurn<RabbitMq>>,
}

impl Deref for World {
    type Target = Vhost;

    fn deref(&self) -> &Vhost {
        &self.vhost
    }
}

impl World {
    /// A virtual host beside those of other tests.
    pub(crate) async fn start(name: &str) -> Self {
        Self { vhost: Vhost::on(servers::rabbitmq().await, name).await, _turn: None }
    }

    /// As `start`, while no other test uses the node.
    pub(crate) async fn start_alone(name: &str) -> Self {
        let turn = rabbitmq_in_turn().await;
        Self { vhost: Vhost::on(turn.clone(), name).await, _turn: Some(turn) }
    }

    pub(crate) fn node(&self) -> &RabbitMq {
        self.rabbitmq()
    }

    pub(crate) async fn producer(&self, limits: Limits) -> Producer {
        Producer::connect(self.url(), "test", limits).await.expect("a connection")
    }

    pub(crate) async fn declare_topology(&self) {
        self.declare(&Topology::new(&[])).await;
    }

    /// A queue for one partition, and nothing that would catch the others.
    pub(crate) async fn declare_queue_for(&self, key: &str, max_length: i64) {
        let (_connection, channel) = self.channel().await;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(max_length));
        let queue = format!("loyalty.commands.{key}");
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declared = async {
            channel.exchange_declare(COMMANDS.into(), ExchangeKind::Direct, durable, FieldTable::default()).await?;
            channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;
            let (options, none) = (QueueBindOptions::default(), FieldTable::default());
            channel.queue_bind(queue.as_str().into(), COMMANDS.into(), key.into(), options, none).await
        };
        declared.await.expect("a queue");
    }

    /// Takes the exchange away; what is in the queues stays there.
    pub(crate) async fn delete_exchange(&self) {
        self.vhost.delete_exchange(COMMANDS).await;
    }

    /// Takes everything out of the command queues, each in its order.
    pub(crate) async fn drain_commands(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        for partition in Partition::all() {
            commands.extend(self.drain(&partition.queue()).await);
        }
        commands
    }

    /// Takes everything out of one queue.
    pub(crate) async fn drain(&self, queue: &str) -> Vec<Command> {
        let (_connection, channel) = self.channel().await;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(queue.into(), passive, FieldTable::default()).await.expect("a queue");
        let count = usize::try_from(declared.message_count()).expect("a count");
        let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(queue.into(), "test".into(), no_ack, FieldTable::default()).await;
        let deliveries = consumer.expect("a consumer").take(count);
        deliveries.map(|delivery| decode(&delivery.expect("a delivery").data).expect("a command")).collect().await
    }
}
