//! One test's world: a database, a virtual host and a mailbox of its own, and the processes that work on them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lapin::options::QueueDeleteOptions;
use loyalty_common::amqp;
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology::{RetryDelay, Topology, Value};
use loyalty_local::{Mailbox, PgBouncer, PgBouncerError, PoolMode, Postgres, Proxy, RabbitMq};
use loyalty_producer::{Limits, Producer};
use loyalty_store::pool::DatabaseUrl;
use loyalty_store::pool::PlannerProfile;
use loyalty_store::{Pool, migrate};
use loyalty_testkit::scratch;
use tokio::sync::OnceCell;

use crate::accounts::{self, Account};
use crate::bridge::Bridge;
use crate::endpoint::Endpoint;
use crate::http;
use crate::program::{self, Program};
use crate::published::Published;
use crate::servers::{Broker, Database};
use loyalty_local::wait::PATIENCE;

/// The retry delays of emails: distinct, and short enough to wait all of them.
const RETRY_DELAYS: [&str; 3] = ["1s", "2s", "3s"];

/// Connections of the harness itself.
const CONNECTIONS: usize = 4;

/// Days after which points expire, in a world in which they do.
pub(crate) const EXPIRY_DAYS: i64 = 30;

/// Sessions of a pooler for each role: as many as the documents ask for.
const SESSIONS: u8 = 20;

/// A world before it starts: which of its servers are its own, and what `loyalty.toml` says.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Setup {
    own_database: bool,
    own_broker: bool,
    events: bool,
    points_expire: bool,
    late_hours: Option<u16>,
    mail: String,
    tables: String,
}

impl Setup {
    /// A database server that the test may stop and kill. Costs two seconds.
    #[must_use]
    pub fn own_database(self) -> Self {
        Self { own_database: true, ..self }
    }

    /// A broker that the test may stop and kill. Costs ten seconds.
    #[must_use]
    pub fn own_broker(self) -> Self {
        Self { own_broker: true, ..self }
    }

    /// With events switched on.
    #[must_use]
    pub fn events(self) -> Self {
        Self { events: true, ..self }
    }

    #[must_use]
    pub fn points_expire(self) -> Self {
        Self { points_expire: true, ..self }
    }

    /// With a sweep that is so late. Without this it is years late, so that what becomes of a command of some day in
    /// the past does not depend on when a worker starts.
    #[must_use]
    pub fn late_hours(self, hours: u16) -> Self {
        Self { late_hours: Some(hours), ..self }
    }

    /// More lines for the table `mail` of `loyalty.toml`.
    #[must_use]
    pub fn mail(self, lines: &str) -> Self {
        Self { mail: lines.to_owned(), ..self }
    }

    /// More tables for `loyalty.toml`.
    #[must_use]
    pub fn tables(self, lines: &str) -> Self {
        Self { tables: lines.to_owned(), ..self }
    }

    pub async fn start(self) -> World {
        static WORLDS: AtomicUsize = AtomicUsize::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let name = format!("loyalty_test_{}_{number}", std::process::id());
        let dir = scratch::root().join(&name);
        std::fs::create_dir_all(dir.join("servers")).expect("a directory for the world");
        let own = dir.join("servers");
        let (database, broker) = tokio::join!(
            async { if self.own_database { Database::own(&own).await } else { Database::common().await } },
            async { if self.own_broker { Broker::own(&own).await } else { Broker::common().await } },
        );
        World::prepare(name, dir, database, broker, &self).await
    }

    /// What `loyalty.toml` says.
    fn config(&self) -> String {
        let Self { events, mail, tables, late_hours, .. } = self;
        let quoted = RETRY_DELAYS.map(|delay| format!("{delay:?}")).join(", ");
        let late_hours = late_hours.unwrap_or(u16::MAX);
        let expiry = if self.points_expire { format!("[expiry]\nafter = \"{EXPIRY_DAYS}d\"\n") } else { String::new() };
        let sweep = format!("[sweep]\nlate_hours = {late_hours}\n");
        format!("[mail]\nretry_delays = [{quoted}]\n{mail}\n[events]\nenabled = {events}\n{sweep}{expiry}{tables}\n")
    }
}

/// How a process reaches the servers, directly unless a proxy is named, and what else its environment says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Route<'a> {
    /// Between it and the broker.
    pub broker: Option<&'a Proxy>,
    /// Between it and the database.
    pub database: Option<SocketAddr>,
    /// More variables.
    pub variables: &'a [(&'static str, &'a str)],
}

impl<'a> Route<'a> {
    /// Through this proxy to the broker.
    pub fn to_broker(proxy: &'a Proxy) -> Self {
        Self { broker: Some(proxy), ..Self::default() }
    }

    /// Through this proxy to the database.
    pub fn to_database(proxy: &Proxy) -> Self {
        Self { database: Some(proxy.addr()), ..Self::default() }
    }

    /// Through this pooler to the database.
    pub fn by_pooler(pooler: &PgBouncer) -> Self {
        Self { database: Some(pooler.addr()), ..Self::default() }
    }

    /// Directly, with more variables.
    pub fn with(variables: &'a [(&'static str, &'a str)]) -> Self {
        Self { variables, ..Self::default() }
    }
}

/// A database, a virtual host and a mailbox of one test.
pub struct World {
    /// The name of its database and of its virtual host.
    name: String,
    dir: PathBuf,
    database: Database,
    broker: Broker,
    topology: Topology,
    /// What a test reads of the database, independent of the product's own reading.
    pub(crate) pool: Pool,
    /// Where its emails arrive.
    pub mailbox: Mailbox,
    pub(crate) points_expire: bool,
    producer: OnceCell<Producer>,
    /// What [`World::settled`] waits for.
    pub(crate) published: Mutex<Published>,
    programs: AtomicUsize,
}

impl World {
    /// A world on the common servers.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    async fn prepare(name: String, dir: PathBuf, database: Database, broker: Broker, setup: &Setup) -> Self {
        tokio::join!(database.create(&name), broker.create(&name));
        let pool = Pool::new(&database.endpoint().url(&name), PlannerProfile::Queries, CONNECTIONS)
            .expect("the database's URL");
        let mailbox = Mailbox::start(None).await.expect("a mailbox");
        std::fs::write(dir.join("loyalty.toml"), setup.config()).expect("a config file");
        let world = Self {
            name,
            dir,
            database,
            broker,
            topology: topology().with_events(setup.events),
            pool,
            mailbox,
            points_expire: setup.points_expire,
            producer: OnceCell::new(),
            published: Mutex::default(),
            programs: AtomicUsize::new(0),
        };
        let (migrated, ()) = tokio::join!(migrate::migrate(&world.pool), world.declare());
        migrated.expect("the migrations run");
        world.database.grant(&world.pool).await;
        world
    }

    async fn declare(&self) {
        let connection = amqp::connect(&self.amqp(), "tests").await.expect("a connection to the broker");
        let channel = connection.create_channel().await.expect("a channel");
        self.topology.declare(&channel).await.expect("the topology");
        amqp::close(&connection).await;
    }

    /// Has programs that start from now on be set up in this way.
    pub fn reconfigure(&self, setup: &Setup) {
        std::fs::write(self.dir.join("loyalty.toml"), setup.config()).expect("a config file");
    }

    /// Makes a queue of ours again, with room for so many messages only.
    pub async fn replace_queue(&self, name: &str, max_length: i64) {
        let connection = amqp::connect(&self.amqp(), "tests").await.expect("a connection to the broker");
        let channel = connection.create_channel().await.expect("a channel");
        channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.expect("no queue");
        let mut topology = topology();
        topology.exchanges.clear();
        topology.queues.retain(|queue| queue.name == name);
        for argument in topology.queues.iter_mut().flat_map(|queue| &mut queue.arguments) {
            if argument.name == "x-max-length" {
                argument.value = Value::Number(max_length);
            }
        }
        topology.declare(&channel).await.expect("the smaller queue");
        amqp::close(&connection).await;
    }

    /// Starts `loyalty worker`.
    pub async fn worker(&self) -> Program {
        self.worker_through(Route::default()).await
    }

    /// Starts `loyalty worker` with a proxy between it and a server.
    pub async fn worker_through(&self, route: Route<'_>) -> Program {
        self.spawn(&["worker"], route).await
    }

    /// Starts `loyalty bridge` on a free port.
    pub async fn bridge(&self) -> Bridge {
        self.bridge_through(Route::default()).await
    }

    /// Starts `loyalty bridge` with a proxy between it and a server.
    pub async fn bridge_through(&self, route: Route<'_>) -> Bridge {
        Bridge::listening(self.spawn(&["bridge", "--http", "127.0.0.1:0"], route).await).await
    }

    /// Starts `loyalty` with any arguments, connected to this world by its environment.
    pub async fn loyalty(&self, args: &[&str]) -> Program {
        self.loyalty_through(args, Route::default()).await
    }

    /// The same with a proxy between it and a server.
    pub async fn loyalty_through(&self, args: &[&str], route: Route<'_>) -> Program {
        self.spawn(args, route).await
    }

    async fn spawn(&self, args: &[&str], route: Route<'_>) -> Program {
        let number = self.programs.fetch_add(1, Ordering::Relaxed);
        let log = self.dir.join(format!("{number}-{}.log", args.first().unwrap_or(&"loyalty")));
        let through = |endpoint: Endpoint, between: Option<SocketAddr>| match between {
            Some(addr) => endpoint.text_through(addr, &self.name),
            None => endpoint.text(&self.name),
        };
        let account = Account::of(args.first().copied());
        let mut env = vec![
            ("LOYALTY_AMQP_URL", through(self.broker.endpoint_of(account), route.broker.map(Proxy::addr))),
            ("LOYALTY_MANAGEMENT_URL", self.management_url()),
            ("LOYALTY_DATABASE_URL", through(self.database.endpoint_of(account), route.database)),
            ("LOYALTY_SMTP_URL", self.mailbox.url()),
            ("LOYALTY_CONFIG", self.dir.join("loyalty.toml").display().to_string()),
        ];
        env.extend(route.variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Program::start(args, &env, &self.dir, log).await
    }

    /// A proxy in front of the broker.
    pub async fn broker_proxy(&self) -> Proxy {
        Proxy::start(self.broker.endpoint().addr().await).await.expect("a proxy")
    }

    /// A proxy in front of the database.
    pub async fn database_proxy(&self) -> Proxy {
        Proxy::start(self.database.endpoint().addr().await).await.expect("a proxy")
    }

    /// A pooler in front of the database, which takes everyone who may log in there; nothing, loudly, on a machine
    /// without PgBouncer.
    pub async fn pooler(&self, mode: PoolMode) -> Option<PgBouncer> {
        let endpoints = Account::WITH_ROLE.map(|account| self.database.endpoint_of(account));
        let logins: Vec<(&str, &str)> = endpoints.iter().map(Endpoint::login).collect();
        let (dir, server) = (self.dir.join("servers").join(mode.name()), self.database.endpoint().addr().await);
        match PgBouncer::start(&dir, server, &logins, mode, SESSIONS).await {
            Ok(pooler) => Some(pooler),
            Err(PgBouncerError::Missing(missing)) => {
                eprintln!("SKIPPED: {missing}");
                None
            }
            Err(error) => panic!("a pooler: {error}"),
        }
    }

    /// The world's own database server, if it has one.
    pub fn postgres(&self) -> &Postgres {
        match &self.database {
            Database::Own(postgres) => postgres,
            Database::Shared(_) | Database::Given(_) => panic!("the world has no database server of its own"),
        }
    }

    /// The world's own broker, if it has one.
    pub fn rabbitmq(&self) -> &RabbitMq {
        match &self.broker {
            Broker::Own(rabbitmq) => rabbitmq,
            Broker::Shared(_) | Broker::Given(_) => panic!("the world has no broker of its own"),
        }
    }

    /// Asks RabbitMQ's management API about this world: `{vhost}` in the path is its virtual host.
    pub async fn manage(&self, method: &str, path: &str, body: Option<&str>) -> http::Answer {
        self.broker.manage(method, &path.replace("{vhost}", &self.name), body).await
    }

    /// RabbitMQ's management API, login included.
    pub fn management_url(&self) -> String {
        self.broker.management().text("")
    }

    /// The name of the world's virtual host.
    pub fn vhost(&self) -> &str {
        &self.name
    }

    /// The world's virtual host.
    pub fn amqp(&self) -> SecretUrl {
        self.broker.endpoint().url(&self.name)
    }

    /// The world's virtual host as a part of the product, or who works with it, reaches it.
    pub fn amqp_of(&self, account: Account) -> SecretUrl {
        self.broker.endpoint_of(account).url(&self.name)
    }

    /// The world's database as a part of the product reaches it.
    pub fn database_of(&self, account: Account) -> DatabaseUrl {
        self.database.endpoint_of(account).url(&self.name)
    }

    /// Takes from the worker what only brokers before 4.3.1 ask for.
    pub async fn permit_worker_only_what_it_needs(&self) {
        let permissions = accounts::permissions("worker", &Account::Worker.to_string());
        self.broker.permit(&self.name, Account::Worker, &permissions).await;
    }

    /// The world's database.
    pub fn database_url(&self) -> DatabaseUrl {
        self.database.endpoint().url(&self.name)
    }

    /// The world's directory, in which its programs run.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Publishes as other systems do.
    pub async fn producer(&self) -> &Producer {
        let limits = Limits { confirm_timeout: PATIENCE, ..Limits::default() };
        let connect = || Producer::connect(self.amqp_of(Account::Publisher), "tests", limits);
        self.producer.get_or_init(|| async { connect().await.expect("a connection to the broker") }).await
    }

    /// Removes what the servers hold of this world, on a runtime of its own: the test's may be unwinding.
    fn leave(&self) {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async { tokio::join!(self.database.leave(&self.name), self.broker.leave(&self.name)) });
        };
        // A failure is shown and changes no test's result.
        let _ = std::thread::scope(|scope| scope.spawn(work).join());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", program::tails(&self.dir));
        }
        self.leave();
    }
}

fn topology() -> Topology {
    Topology::new(&RETRY_DELAYS.map(|delay| RetryDelay::parse(delay).expect("a delay")))
}
