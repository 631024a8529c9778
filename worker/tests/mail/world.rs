//! One test's world: a database, a virtual host and a mailbox of its own, and the parts of the worker that see mails
//! off. Verbs read as prose; what takes a moment is waited for, up to a deadline.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lapin::options::{BasicPublishOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use loyalty_common::amqp;
use loyalty_common::publisher::{self, Publisher};
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology::Topology;
use loyalty_local::wait::{PATIENCE, eventually, within};
use loyalty_local::{Durability, Mailbox, Servers};
use loyalty_store::batch::{Batch, Changes};
use loyalty_store::email::EmailId;
use loyalty_store::pool::{DatabaseUrl, Use};
use loyalty_store::rows::RewardRow;
use loyalty_store::{Pool, migrate};
use loyalty_worker::mail::{MailMetrics, MailSettings, Mailer, RetrySchedule, SmtpUrl};
use loyalty_worker::metrics::Reconnects;
use loyalty_worker::queue_states::QueueStates;
use loyalty_worker::{dead_letter_consumer, email_relay};
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Rungs of different names, as short as rungs can be.
const LADDER: [&str; 3] = ["1s", "2s", "3s"];

pub(crate) struct World {
    name: String,
    servers: Arc<Servers>,
    pub(crate) mailbox: Mailbox,
    pub(crate) pool: Pool,
    pub(crate) settings: MailSettings,
}

/// A mail as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MailRow {
    pub(crate) state: String,
    pub(crate) attempts: i32,
    pub(crate) reply: Option<String>,
}

/// A dead letter as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) source: String,
    pub(crate) reason: String,
    pub(crate) error: String,
    pub(crate) email_id: Option<EmailId>,
    pub(crate) member_id: Option<String>,
    pub(crate) origin: String,
    pub(crate) body: Vec<u8>,
    pub(crate) attempts: i32,
}

impl World {
    /// A world on servers that all tests share.
    pub(crate) async fn start() -> Self {
        static SHARED: OnceCell<Arc<Servers>> = OnceCell::const_new();
        let shared = SHARED.get_or_init(async || Arc::new(servers("shared", Durability::Throwaway).await)).await;
        Self::on(Arc::clone(shared)).await
    }

    /// A world on servers of its own, which the test may stop and kill.
    pub(crate) async fn with_own_servers(name: &str) -> Self {
        Self::on(Arc::new(servers(name, Durability::Durable).await)).await
    }

    async fn on(servers: Arc<Servers>) -> Self {
        static WORLDS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("mail_{}_{}", std::process::id(), WORLDS.fetch_add(1, Ordering::Relaxed));
        servers.postgres.create_database(&name).await.expect("a database");
        servers.rabbitmq.create_vhost(&name).await.expect("a virtual host");
        let pool = pool(&DatabaseUrl::known(servers.postgres.url(&name)));
        migrate::migrate(&pool).await.expect("the migrations run");
        let mailbox = Mailbox::start(None).await.expect("a mailbox");
        let ladder = serde_json::from_value(serde_json::json!(LADDER)).expect("a ladder");
        let smtp = Some(SmtpUrl::known(mailbox.url()));
        let settings =
            MailSettings { smtp, ladder, from: "Café <cafe@shop.example>".to_owned(), ..Default::default() };
        let world = Self { name, servers, mailbox, pool, settings };
        world.declare(&world.settings.ladder).await;
        world
    }

    async fn declare(&self, ladder: &RetrySchedule) {
        let (connection, channel) = self.channel().await;
        Topology::new(ladder.delays()).declare(&channel).await.expect("the topology");
        amqp::close(&connection).await;
    }

    pub(crate) fn servers(&self) -> &Servers {
        &self.servers
    }

    pub(crate) fn amqp(&self) -> SecretUrl {
        SecretUrl::known(self.servers.rabbitmq.url(&self.name))
    }

    pub(crate) fn database(&self) -> DatabaseUrl {
        DatabaseUrl::known(self.servers.postgres.url(&self.name))
    }

    pub(crate) async fn channel(&self) -> (Connection, Channel) {
        let connection = amqp::connect(&self.amqp(), "tests").await.expect("a connection to the broker");
        let channel = connection.create_channel().await.expect("a channel");
        (connection, channel)
    }

    /// Starts the mailer, the relay and the keeper, as a worker does.
    pub(crate) fn post(&self) -> Post {
        self.post_by(&self.amqp(), &self.database())
    }

    /// The same, with other ways to the servers for the mailer and the keeper. The relay keeps its own.
    pub(crate) fn post_by(&self, amqp: &SecretUrl, database: &DatabaseUrl) -> Post {
        let pool = pool(database);
        let mailer = self.mailer(pool.clone());
        let post = self.relay();
        let (amqp, stop) = (amqp.clone(), post.stop.clone());
        let keeper = tokio::spawn(dead_letter_consumer::run(
            amqp.clone(),
            pool,
            reconnects(),
            QueueStates::default(),
            stop.clone(),
        ));
        let mailer = tokio::spawn(mailer.run(amqp, reconnects(), QueueStates::default(), stop));
        post.and([keeper, mailer])
    }

    /// Starts the relay alone.
    pub(crate) fn relay(&self) -> Post {
        let (stop, publisher, wake) = (CancellationToken::new(), self.publisher(), Arc::new(Notify::new()));
        let relay = tokio::spawn(email_relay::run(self.pool.clone(), publisher, Arc::clone(&wake), stop.clone()));
        Post { stop, wake, parts: vec![relay] }
    }

    fn mailer(&self, pool: Pool) -> Mailer {
        let metrics = MailMetrics::new(&mut Registry::default());
        Mailer::new(&self.settings, pool, self.publisher(), metrics).expect("settings that make sense")
    }

    fn publisher(&self) -> Publisher {
        Publisher::start(self.amqp(), "tests", publisher::Limits::default())
    }

    /// A reward with its mail and its request, committed as a worker commits them.
    pub(crate) async fn grant(&self, member: &str, recipient: &str) -> EmailId {
        self.grant_all(member, recipient, 1).await[0]
    }

    pub(crate) async fn grant_all(&self, member: &str, recipient: &str, count: i64) -> Vec<EmailId> {
        let reward = |number: i64| RewardRow {
            trace: None,
            member_id: member.parse().expect("a member id"),
            epoch: 1,
            number,
            seq: number,
            points: number * 1000,
            title: "free coffee".to_owned(),
            has_address: true,
        };
        self.lives_at(member, recipient).await;
        let rewards: Vec<RewardRow> = (1..=count).map(reward).collect();
        let ids = rewards.iter().map(|reward| EmailId::from(reward.email_id())).collect();
        let (batch, _) = Batch::open(&self.pool, &[], &[]).await.expect("a batch");
        batch.commit(&Changes { rewards, ..Changes::default() }).await.expect("the rewards are granted");
        ids
    }

    /// A member with this address.
    async fn lives_at(&self, member: &str, address: &str) {
        const MEMBER: &str = "
            insert into member (member_id, status, epoch, balance, lifetime, last_seq, email, name, updated_at)
            values ($1, 'active', 1, 0, 0, 0, $2, 'Ann', now()) on conflict (member_id) do update set email = $2";
        let client = self.pool.get().await.expect("a connection");
        client.execute(MEMBER, &[&member, &address]).await.expect("a member");
    }

    pub(crate) async fn mail(&self, email_id: EmailId) -> MailRow {
        let client = self.pool.get().await.expect("a connection");
        let row = client
            .query_one("select state, attempts, reply from email where email_id = $1", &[&email_id.uuid()])
            .await
            .expect("the mail's row");
        MailRow { state: row.get(0), attempts: row.get(1), reply: row.get(2) }
    }

    /// One of the mails that stands so, if there is one.
    pub(crate) async fn any(&self, mails: &[EmailId], state: &str) -> Option<EmailId> {
        for email_id in mails {
            if self.mail(*email_id).await.state == state {
                return Some(*email_id);
            }
        }
        None
    }

    /// Waits until a mail stands so, and tells how it stands if it never does.
    pub(crate) async fn becomes(&self, email_id: EmailId, state: &str) -> MailRow {
        let mut last = None;
        let stands = async || {
            let row = last.insert(self.mail(email_id).await);
            (row.state == state).then(|| row.clone())
        };
        let found = within(PATIENCE, stands).await;
        found.unwrap_or_else(|| panic!("the mail did not become {state} within {PATIENCE:?}: {last:?}"))
    }

    pub(crate) async fn letters(&self) -> Vec<Letter> {
        let client = self.pool.get().await.expect("a connection");
        let rows = client.query("select * from dead_letter order by dead_letter_id", &[]).await.expect("the letters");
        rows.iter()
            .map(|row| Letter {
                source: row.get("source"),
                reason: row.get("reason"),
                error: row.get("error"),
                email_id: row.get::<_, Option<uuid::Uuid>>("email_id").map(EmailId::from),
                member_id: row.get("member_id"),
                origin: format!("{} {}", row.get::<_, &str>("exchange"), row.get::<_, &str>("routing_key")),
                body: row.get("body"),
                attempts: row.get("attempts"),
            })
            .collect()
    }

    /// Waits until there are so many dead letters.
    pub(crate) async fn set_aside(&self, count: usize) -> Vec<Letter> {
        eventually(&format!("{count} dead letters"), async || {
            Some(self.letters().await).filter(|letters| letters.len() >= count)
        })
        .await
    }

    pub(crate) async fn outbox(&self) -> i64 {
        let client = self.pool.get().await.expect("a connection");
        client.query_one("select count(*) from outbox", &[]).await.expect("a count").get(0)
    }

    /// Changes the database behind everybody's back.
    pub(crate) async fn execute(&self, statement: &str) {
        let client = self.pool.get().await.expect("a connection");
        client.batch_execute(statement).await.expect(statement);
    }

    /// Has transactions stand still in the middle of their commit that did `what` to rows of which `which` is true.
    pub(crate) async fn hold_commits(&self, what: &str, which: &str) -> Commits {
        self.execute(&format!(
            "create function stand_still() returns trigger language plpgsql as
                 $$ begin perform pg_advisory_xact_lock(1); return null; end $$;
             create constraint trigger stand_still after {what} deferrable initially deferred
                 for each row when ({which}) execute function stand_still()"
        ))
        .await;
        let holder = self.pool.get().await.expect("a connection");
        holder.batch_execute("select pg_advisory_lock(1)").await.expect("the lock");
        Commits { holder, watch: self.pool.clone() }
    }

    /// Publishes whatever to wherever, with a header that nobody expects.
    pub(crate) async fn publish(&self, exchange: &str, key: &str, body: &[u8]) {
        let (connection, channel) = self.channel().await;
        let mut headers = FieldTable::default();
        headers.insert("x-\0".into(), AMQPValue::LongString("\0".into()));
        let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
        let options = BasicPublishOptions::default();
        let published = channel.basic_publish(exchange.into(), key.into(), options, body, properties).await;
        drop(published.expect("published"));
        amqp::close(&connection).await;
    }

    /// Removes a queue with all that it holds.
    pub(crate) async fn remove(&self, queue: &str) {
        let (connection, channel) = self.channel().await;
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.expect("the queue goes");
        amqp::close(&connection).await;
    }

    /// Leaves nothing behind on servers that others use.
    pub(crate) async fn end(self) {
        self.servers.rabbitmq.delete_vhost(&self.name).await.expect("the virtual host goes");
        self.servers.postgres.drop_database(&self.name).await.expect("the database goes");
    }
}

/// Commits that stand still.
pub(crate) struct Commits {
    holder: loyalty_store::Connection,
    watch: Pool,
}

impl Commits {
    /// Waits until there is one.
    pub(crate) async fn comes(&self) {
        self.waits_for("advisory").await;
    }

    /// Waits until somebody waits for its outcome.
    pub(crate) async fn is_waited_for(&self) {
        self.waits_for("transactionid").await;
    }

    async fn waits_for(&self, lock: &str) {
        const WAITING: &str =
            "select from pg_stat_activity where datname = current_database() and wait_event = $1 limit 1";
        let waits = async || {
            let client = self.watch.get().await.expect("a connection");
            client.query_opt(WAITING, &[&lock]).await.expect("the sessions").map(drop)
        };
        eventually(&format!("a wait for a lock: {lock}"), waits).await;
    }

    /// Lets it, and all to come, go on.
    pub(crate) async fn goes_on(self) {
        self.holder.batch_execute("select pg_advisory_unlock(1)").await.expect("the lock goes");
    }
}

/// The running parts.
pub(crate) struct Post {
    stop: CancellationToken,
    /// What a lane rings after a commit that left something in the outbox.
    pub(crate) wake: Arc<Notify>,
    parts: Vec<JoinHandle<()>>,
}

impl Post {
    fn and(mut self, parts: impl IntoIterator<Item = JoinHandle<()>>) -> Self {
        self.parts.extend(parts);
        self
    }

    /// Stops all parts in good order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        for part in self.parts {
            part.await.expect("no part panics");
        }
    }
}

fn pool(database: &DatabaseUrl) -> Pool {
    Pool::new(database, Use::Keys, 8).expect("the database's URL")
}

/// Under the build's own directory: a second run finds them made.
async fn servers(name: &str, durability: Durability) -> Servers {
    let dir: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("worker-mail").join(name);
    std::fs::create_dir_all(&dir).expect("a directory for the servers");
    Servers::start(&dir, durability).await.expect("PostgreSQL and RabbitMQ start")
}

fn reconnects() -> Reconnects {
    Reconnects::new(&mut Registry::default())
}
