//! A virtual host of a test's own, and what any test does with one.

use std::sync::Arc;

use lapin::options::{BasicPublishOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{BasicProperties, Channel, Connection};
use loyalty_common::amqp;
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology::Topology;
use loyalty_local::RabbitMq;

use crate::background::tidy;
use crate::{servers, unique};

/// A virtual host. Dropping it removes it from the broker as well, in the background.
#[derive(Debug)]
pub struct Vhost {
    name: String,
    rabbitmq: Arc<RabbitMq>,
}

impl Vhost {
    /// An empty one on the shared broker.
    pub async fn start(subject: &str) -> Self {
        Self::on(servers::rabbitmq().await, subject).await
    }

    /// An empty one on this broker.
    pub async fn on(rabbitmq: Arc<RabbitMq>, subject: &str) -> Self {
        let name = unique(subject);
        rabbitmq.create_vhost(&name).await.expect("a virtual host");
        Self { name, rabbitmq }
    }

    /// Its name at the broker.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn rabbitmq(&self) -> &RabbitMq {
        &self.rabbitmq
    }

    pub fn url(&self) -> SecretUrl {
        SecretUrl::known(self.rabbitmq.url(&self.name))
    }

    /// A channel. It lives as long as its connection.
    pub async fn channel(&self) -> (Connection, Channel) {
        let connection = amqp::connect(&self.url(), "tests").await.expect("a connection to the broker");
        let channel = connection.create_channel().await.expect("a channel");
        (connection, channel)
    }

    /// Does something on a channel, and closes it.
    pub async fn with_channel<T>(&self, work: impl AsyncFnOnce(&Channel) -> T) -> T {
        let (connection, channel) = self.channel().await;
        let done = work(&channel).await;
        amqp::close(&connection).await;
        done
    }

    /// Declares exchanges and queues, or whatever of them is missing.
    pub async fn declare(&self, topology: &Topology) {
        self.with_channel(async |channel| topology.declare(channel).await.expect("the topology")).await;
    }

    /// Publishes whatever to wherever, with no confirm.
    pub async fn publish(&self, exchange: &str, key: &str, properties: BasicProperties, body: &[u8]) {
        self.with_channel(async |channel| {
            let options = BasicPublishOptions::default();
            let published = channel.basic_publish(exchange.into(), key.into(), options, body, properties).await;
            drop(published.expect("published"));
        })
        .await;
    }

    /// Removes a queue with all that it holds.
    pub async fn delete_queue(&self, queue: &str) {
        let deleted = async |channel: &Channel| channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
        self.with_channel(deleted).await.expect("the queue goes");
    }

    /// Removes an exchange; what is in the queues stays there.
    pub async fn delete_exchange(&self, exchange: &str) {
        let options = ExchangeDeleteOptions::default();
        self.with_channel(async |channel| channel.exchange_delete(exchange.into(), options).await)
            .await
            .expect("the exchange goes");
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        let (rabbitmq, name) = (Arc::clone(&self.rabbitmq), self.name.clone());
        // A server of the test's own, which nobody else knows, ends with the test.
        if Arc::strong_count(&rabbitmq) > 2 {
            tidy(async move { drop(rabbitmq.delete_vhost(&name).await) });
        }
    }
}
