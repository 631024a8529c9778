//! What the tests stand on: a private node shared by all, and a virtual host for each.

use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};
use loyalty_common::decode::decode;
use loyalty_common::topology::{COMMANDS, Topology};
use loyalty_common::{Partition, amqp};
use loyalty_local::RabbitMq;
use loyalty_producer::{Command, Limits, Producer, SecretUrl};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Starting a node takes longer than all tests together, so it is shared.
static NODE: OnceCell<RabbitMq> = OnceCell::const_new();

/// Tests that stop or starve the node have it alone.
static TURN: RwLock<()> = RwLock::const_new(());

/// A virtual host of the node.
pub(crate) struct World {
    url: SecretUrl,
    node: &'static RabbitMq,
    _turn: Turn,
}

enum Turn {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

impl World {
    /// A virtual host beside those of other tests.
    pub(crate) async fn start(name: &str) -> Self {
        Self::with(name, Turn::Shared { _guard: TURN.read().await }).await
    }

    /// As `start`, while no other test uses the node.
    pub(crate) async fn start_alone(name: &str) -> Self {
        Self::with(name, Turn::Alone { _guard: TURN.write().await }).await
    }

    async fn with(name: &str, turn: Turn) -> Self {
        let node = NODE.get_or_init(fresh_node).await;
        node.start_again().await.expect("it runs again, whatever the test before did to it");
        node.set_memory_alarm(false).await.expect("it takes messages again");
        node.create_vhost(name).await.expect("a virtual host");
        Self { url: SecretUrl::known(node.url(name)), node, _turn: turn }
    }

    pub(crate) fn node(&self) -> &RabbitMq {
        self.node
    }

    pub(crate) async fn producer(&self, limits: Limits) -> Producer {
        Producer::connect(self.url.clone(), "test", limits).await.expect("a connection")
    }

    pub(crate) async fn declare_topology(&self) {
        let (_connection, channel) = self.channel().await;
        Topology::new(&[]).declare(&channel).await.expect("a topology");
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
        let (_connection, channel) = self.channel().await;
        channel.exchange_delete(COMMANDS.into(), ExchangeDeleteOptions::default()).await.expect("an exchange");
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

    async fn channel(&self) -> (Connection, Channel) {
        let connection = amqp::connect(&self.url, "test").await.expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        (connection, channel)
    }
}

/// A node that knows nothing of earlier runs.
async fn fresh_node() -> RabbitMq {
    // There is none the first time.
    let _ = std::fs::remove_dir_all(directory());
    RabbitMq::start(&directory()).await.expect("a RabbitMQ starts")
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("producer")
}
