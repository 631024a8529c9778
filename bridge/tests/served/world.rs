//! What the tests stand on: private servers that they share, a database and a virtual host for each.

use std::net::SocketAddr;
use std::sync::Arc;

use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use loyalty_bridge::{AuthMode, BridgeSettings, Hosts, Limits, Metrics};
use loyalty_common::Partition;
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology::{COMMANDS, RetryDelay, Topology};
use loyalty_local::{Postgres, Proxy, RabbitMq};
use loyalty_store::clock::Clock;
use loyalty_store::pool::{DatabaseUrl, PlannerProfile, Pool};
use loyalty_testkit::servers::{InTurn, postgres_in_turn, rabbitmq_in_turn};
use loyalty_worker::mail::MailSettings;
use loyalty_worker::{Programme, Settings};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A database and a virtual host, ready for use.
pub(crate) struct World {
    kit: loyalty_testkit::World,
    amqp: SecretUrl,
    database: DatabaseUrl,
    /// The servers, if no other test has them meanwhile.
    _turn: Option<(InTurn<Postgres>, InTurn<RabbitMq>)>,
}

/// A part that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

impl World {
    /// A world beside those of other tests.
    pub(crate) async fn start(name: &str) -> Self {
        Self::of(loyalty_testkit::World::start(name, &topology()).await, None)
    }

    /// A world that the tests share in which nothing is published and nothing read but what is fixed.
    pub(crate) async fn untouched() -> &'static Self {
        static UNTOUCHED: OnceCell<World> = OnceCell::const_new();
        UNTOUCHED.get_or_init(|| Self::start("untouched")).await
    }

    /// As `start`, while no other test uses the servers.
    pub(crate) async fn start_alone(name: &str) -> Self {
        // In the same order everywhere, or two would wait for each other.
        let (postgres, rabbitmq) = (postgres_in_turn().await, rabbitmq_in_turn().await);
        let world = loyalty_testkit::World::on(postgres.clone(), rabbitmq.clone(), name, &topology()).await;
        Self::of(world, Some((postgres, rabbitmq)))
    }

    fn of(world: loyalty_testkit::World, turn: Option<(InTurn<Postgres>, InTurn<RabbitMq>)>) -> Self {
        Self { amqp: world.amqp(), database: world.database_url(), kit: world, _turn: turn }
    }

    pub(crate) fn rabbitmq(&self) -> &RabbitMq {
        self.kit.rabbitmq()
    }

    pub(crate) fn postgres(&self) -> &Postgres {
        self.kit.postgres()
    }

    /// A bridge that can publish.
    pub(crate) async fn bridge(&self, limits: Limits) -> Running {
        self.bridge_to(self.amqp.clone(), limits).await
    }

    /// A bridge that serves holders of tokens only.
    pub(crate) async fn guarded_bridge(&self, admission: AuthMode, limits: Limits) -> Running {
        self.bridge_for(self.amqp.clone(), limits, admission).await
    }

    /// The database, for what only an operator does.
    pub(crate) fn pool(&self) -> Pool {
        self.kit.pool_for(PlannerProfile::Queries, 1)
    }

    /// A bridge whose way to the broker can be cut.
    pub(crate) async fn bridge_through(&self, proxy: &Proxy, limits: Limits) -> Running {
        let port = |addr: SocketAddr| format!("127.0.0.1:{}/", addr.port());
        let direct = port(([127, 0, 0, 1], self.rabbitmq().port()).into());
        self.bridge_to(SecretUrl::known(self.amqp.expose().replace(&direct, &port(proxy.addr()))), limits).await
    }

    /// A bridge on a machine with that clock.
    pub(crate) async fn bridge_at(&self, clock: Clock, limits: Limits) -> Running {
        let running = Self::start_bridge(BridgeSettings { limits, clock, ..self.bridge_settings() }).await;
        crate::http::eventually(running.addr, "/readyz", 200).await;
        running
    }

    async fn bridge_to(&self, amqp: SecretUrl, limits: Limits) -> Running {
        self.bridge_for(amqp, limits, AuthMode::Anyone).await
    }

    async fn bridge_for(&self, amqp: SecretUrl, limits: Limits, admission: AuthMode) -> Running {
        let running = self.blind_bridge_to(amqp, limits, admission).await;
        crate::http::eventually(running.addr, "/readyz", 200).await;
        running
    }

    /// A bridge that may start without its servers.
    pub(crate) async fn blind_bridge(&self, admission: AuthMode, limits: Limits) -> Running {
        let running = self.blind_bridge_to(self.amqp.clone(), limits, admission).await;
        crate::http::eventually(running.addr, "/healthz", 200).await;
        running
    }

    /// A bridge that knows its servers by wrong addresses: each is a text of the right one, and what stands there
    /// instead.
    pub(crate) async fn lost_bridge(&self, admission: AuthMode, amqp: [&str; 2], database: [&str; 2]) -> Running {
        let wrong = |url: &str, [right, wrong]: [&str; 2]| url.replace(right, wrong);
        let amqp = SecretUrl::known(wrong(self.amqp.expose(), amqp));
        let database = DatabaseUrl::known(wrong(self.database.expose(), database));
        let settings = BridgeSettings { amqp, database, admission, ..self.bridge_settings() };
        let running = Self::start_bridge(settings).await;
        crate::http::eventually(running.addr, "/healthz", 200).await;
        running
    }

    async fn blind_bridge_to(&self, amqp: SecretUrl, limits: Limits, admission: AuthMode) -> Running {
        Self::start_bridge(BridgeSettings { amqp, admission, limits, ..self.bridge_settings() }).await
    }

    /// What a bridge beside this world's servers is told when nothing else is wanted.
    fn bridge_settings(&self) -> BridgeSettings {
        BridgeSettings {
            amqp: self.amqp.clone(),
            database: self.database.clone(),
            admission: AuthMode::Anyone,
            hosts: Hosts::default(),
            limits: Limits::default(),
            clock: Clock::default(),
        }
    }

    async fn start_bridge(settings: BridgeSettings) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let shutdown = CancellationToken::new();
        let serving = loyalty_bridge::serve(settings, listener, metrics, Arc::new(registry), shutdown.clone());
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Running { addr, shutdown, task }
    }

    /// A worker that takes commands.
    pub(crate) async fn worker(&self) -> Running {
        let settings = Settings {
            amqp: self.amqp.clone(),
            database: self.database.clone(),
            programme: Programme::default(),
            events: loyalty_worker::Events::Off,
            mail: MailSettings::default(),
            limits: loyalty_worker::Limits::default(),
        };
        let metrics = loyalty_worker::Metrics::new(&mut Registry::default());
        let (consuming, mut is_consuming) = watch::channel(false);
        let shutdown = CancellationToken::new();
        let working = loyalty_worker::run(settings, metrics, consuming, shutdown.clone());
        let task = tokio::spawn(async move { working.await.unwrap() });
        is_consuming.wait_for(|consuming| *consuming).await.unwrap();
        Running { addr: ([127, 0, 0, 1], 0).into(), shutdown, task }
    }
}

impl World {
    /// Puts a queue that takes hardly anything in the place of a member's.
    pub(crate) async fn small_queue_for(&self, member: &str, max_length: i64) {
        let partition = Partition::of(&member.parse().unwrap());
        let (key, small) = (partition.routing_key(), format!("small-{member}"));
        let (_connection, channel) = self.kit.vhost.channel().await;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(max_length));
        channel.queue_declare(small.as_str().into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
        let (queue, exchange) = (partition.queue(), COMMANDS);
        let none = FieldTable::default;
        channel.queue_unbind(queue.into(), exchange.into(), key.as_str().into(), none()).await.unwrap();
        let options = QueueBindOptions::default();
        channel.queue_bind(small.as_str().into(), exchange.into(), key.as_str().into(), options, none()).await.unwrap();
    }

    pub(crate) async fn delete_exchange(&self) {
        self.kit.vhost.delete_exchange(COMMANDS).await;
    }

    /// The name of its virtual host.
    pub(crate) fn name(&self) -> &str {
        self.kit.vhost.name()
    }

    pub(crate) async fn delete_queue(&self, queue: &str) {
        self.kit.vhost.delete_queue(queue).await;
    }

    /// Declares what a fresh world has, or whatever of it is missing.
    pub(crate) async fn declare_topology(&self) {
        self.kit.vhost.declare(&topology()).await;
    }

    /// How many messages the small queue of a member holds; they are taken out.
    pub(crate) async fn messages_of(&self, member: &str) -> usize {
        self.take_all(&format!("small-{member}")).await
    }

    /// How many commands wait in all queues; they are taken out.
    pub(crate) async fn waiting_commands(&self) -> usize {
        let mut count = 0;
        for partition in Partition::all() {
            count += self.take_all(&partition.queue()).await;
        }
        count
    }

    /// A purge says exactly how many messages it took.
    async fn take_all(&self, queue: &str) -> usize {
        let (_connection, channel) = self.kit.vhost.channel().await;
        let purged = channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.unwrap();
        usize::try_from(purged).unwrap()
    }
}

fn topology() -> Topology {
    Topology::new(&RetryDelay::default_schedule())
}

/// A command in the contract's JSON, without an id and a time.
pub(crate) fn command(member: &str, rest: &str) -> String {
    format!(r#"{{"v":1,"member_id":"{member}",{rest}}}"#)
}

/// The same under an id.
pub(crate) fn with_id(id: &str, command: &str) -> String {
    format!(r#"{{"command_id":"{id}",{}"#, &command[1..])
}
