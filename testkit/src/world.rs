//! A database, a virtual host and a mailbox of one test.

use std::ops::Deref;
use std::sync::Arc;

use lapin::BasicProperties;
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology::{self, Topology};
use loyalty_common::{Command, Partition};
use loyalty_local::{Durability, Mailbox, Postgres, RabbitMq};
use loyalty_store::pool::DatabaseUrl;

use crate::{Database, Vhost, eventually, servers};

/// What a worker needs to work. Its database's verbs are its own.
#[derive(Debug)]
pub struct World {
    /// Where its emails arrive.
    pub mailbox: Mailbox,
    /// Where its messages are.
    pub vhost: Vhost,
    database: Database,
}

impl World {
    /// A world on the shared servers, with these exchanges and queues.
    pub async fn start(subject: &str, topology: &Topology) -> Self {
        let (database, vhost) = tokio::join!(Database::start(subject), Vhost::start(subject));
        Self::of(database, vhost, topology).await
    }

    /// A world on these servers, which a test may harm.
    pub async fn on(postgres: Arc<Postgres>, rabbitmq: Arc<RabbitMq>, subject: &str, topology: &Topology) -> Self {
        let (database, vhost) = tokio::join!(Database::on(postgres, subject), Vhost::on(rabbitmq, subject));
        Self::of(database, vhost, topology).await
    }

    /// A world on servers of its own, whose commits survive it when they are killed.
    pub async fn on_own_servers(subject: &str, topology: &Topology) -> Self {
        let (postgres, rabbitmq) =
            tokio::join!(servers::own_postgres(subject, Durability::Durable), servers::own_rabbitmq(subject));
        Self::on(postgres, rabbitmq, subject, topology).await
    }

    async fn of(database: Database, vhost: Vhost, topology: &Topology) -> Self {
        vhost.declare(topology).await;
        Self { mailbox: Mailbox::start(None).await.expect("a mailbox"), vhost, database }
    }

    /// The URL of its virtual host.
    pub fn amqp(&self) -> SecretUrl {
        self.vhost.url()
    }

    pub fn database_url(&self) -> DatabaseUrl {
        self.database.url()
    }

    pub fn rabbitmq(&self) -> &RabbitMq {
        self.vhost.rabbitmq()
    }

    /// Publishes a command as the contract says, and waits until it is decided.
    pub async fn apply(&self, command: &Command) {
        let (key, properties) = (Partition::of(&command.member_id).routing_key(), BasicProperties::default());
        let properties = properties.with_delivery_mode(2);
        self.vhost.publish(topology::COMMANDS, &key, properties, &command.encode()).await;
        let row = format!("select count(*) from ledger where command_id = '{}'", command.command_id);
        eventually("the command is decided", async || (self.number(&row).await > 0).then_some(())).await;
    }
}

impl Deref for World {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}
