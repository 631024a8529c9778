//! One test's world: a database, a virtual host and a mailbox of its own, and the parts of the worker that see emails
//! off. Verbs read as prose; what takes a moment is waited for, up to a deadline.

use std::ops::Deref;
use std::sync::Arc;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use loyalty_common::Partition;
use loyalty_common::publisher::{self, Publisher};
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology::{self, Topology};
use loyalty_ledger::{BatchRequest, Changes, Grant};
use loyalty_store::Pool;
use loyalty_store::batch::Batch;
use loyalty_store::emails::EmailId;
use loyalty_store::pool::{DatabaseUrl, PlannerProfile};
use loyalty_testkit::{PATIENCE, eventually, within};
use loyalty_worker::mail::{MailMetrics, MailSettings, Mailer, RetrySchedule, SmtpUrl};
use loyalty_worker::metrics::Reconnects;
use loyalty_worker::queue_states::QueueStates;
use loyalty_worker::{dead_letter_consumer, email_relay};
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Different retry delays, as short as they can be.
const RETRY_DELAYS: [&str; 3] = ["1s", "2s", "3s"];

pub(crate) struct World {
    kit: loyalty_testkit::World,
    /// As the worker's own.
    pub(crate) pool: Pool,
    pub(crate) settings: MailSettings,
}

impl Deref for World {
    type Target = loyalty_testkit::World;

    fn deref(&self) -> &Self::Target {
        &self.kit
    }
}

/// An email as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EmailRow {
    pub(crate) state: String,
    pub(crate) attempts: i32,
    pub(crate) reply: Option<String>,
}

/// A dead letter as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetter {
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
        let retry_delays = retry_delays();
        Self::of(loyalty_testkit::World::start("email", &Topology::new(retry_delays.delays())).await, retry_delays)
    }

    /// A world on servers of its own, which the test may stop and kill.
    pub(crate) async fn with_own_servers(name: &str) -> Self {
        let retry_delays = retry_delays();
        Self::of(
            loyalty_testkit::World::on_own_servers(name, &Topology::new(retry_delays.delays())).await,
            retry_delays,
        )
    }

    fn of(world: loyalty_testkit::World, retry_delays: RetrySchedule) -> Self {
        let smtp = Some(SmtpUrl::known(world.mailbox.url()));
        let settings =
            MailSettings { smtp, retry_delays, from: "Café <cafe@shop.example>".to_owned(), ..Default::default() };
        Self { pool: pool(&world.database_url()), kit: world, settings }
    }

    /// Starts the mailer, the relay and the keeper, as a worker does.
    pub(crate) fn post(&self) -> Post {
        self.post_by(&self.amqp(), &self.database_url())
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

    /// A reward with its email and its request, committed as a worker commits them.
    pub(crate) async fn grant(&self, member: &str, recipient: &str) -> EmailId {
        self.grant_all(member, recipient, 1).await[0]
    }

    pub(crate) async fn grant_all(&self, member: &str, recipient: &str, count: i64) -> Vec<EmailId> {
        let reward = |number: i64| Grant {
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
        let grants: Vec<Grant> = (1..=count).map(reward).collect();
        let ids = grants.iter().map(|it| EmailId::of_reward(&it.member_id, it.epoch, it.number)).collect();
        let (batch, _) = Batch::open(&self.pool, &BatchRequest::default()).await.expect("a batch");
        batch.commit(&Changes { grants, ..Changes::default() }, &[]).await.expect("the rewards are granted");
        ids
    }

    /// A member with this address.
    pub(crate) async fn lives_at(&self, member: &str, address: &str) {
        const MEMBER: &str = "
            insert into member (partition, member_id, status, epoch, balance, lifetime, last_seq, email, name, updated_at)
            values ($3, $1, 'active', 1, 0, 0, 0, $2, 'Ann', now())
            on conflict (partition, member_id) do update set email = $2";
        let partition = i16::from(Partition::of(&member.parse().expect("a member id")).number());
        let client = self.pool.get().await.expect("a connection");
        client.execute(MEMBER, &[&member, &address, &partition]).await.expect("a member");
    }

    pub(crate) async fn email(&self, email_id: EmailId) -> EmailRow {
        let client = self.pool.get().await.expect("a connection");
        let row = client
            .query_one("select state, attempts, reply from email where email_id = $1", &[&email_id.uuid()])
            .await
            .expect("the email's row");
        EmailRow { state: row.get(0), attempts: row.get(1), reply: row.get(2) }
    }

    /// One of the emails that stands so, if there is one.
    pub(crate) async fn any(&self, emails: &[EmailId], state: &str) -> Option<EmailId> {
        for email_id in emails {
            if self.email(*email_id).await.state == state {
                return Some(*email_id);
            }
        }
        None
    }

    /// Waits until an email stands so, and tells how it stands if it never does.
    pub(crate) async fn becomes(&self, email_id: EmailId, state: &str) -> EmailRow {
        let mut last = None;
        let stands = async || {
            let row = last.insert(self.email(email_id).await);
            (row.state == state).then(|| row.clone())
        };
        let found = within(PATIENCE, stands).await;
        found.unwrap_or_else(|| panic!("the email did not become {state} within {PATIENCE:?}: {last:?}"))
    }

    pub(crate) async fn dead_letters(&self) -> Vec<DeadLetter> {
        let client = self.pool.get().await.expect("a connection");
        let rows =
            client.query("select * from dead_letter order by dead_letter_id", &[]).await.expect("the dead letters");
        rows.iter()
            .map(|row| DeadLetter {
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
    pub(crate) async fn set_aside(&self, count: usize) -> Vec<DeadLetter> {
        eventually(&format!("{count} dead letters"), async || {
            Some(self.dead_letters().await).filter(|dead_letters| dead_letters.len() >= count)
        })
        .await
    }

    pub(crate) async fn outbox(&self) -> i64 {
        self.number("select count(*) from outbox").await
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

    /// Waits until the mailer and the keeper are at their queues, with nothing left to open.
    pub(crate) async fn consumed(&self) {
        for queue in [topology::EMAILS, topology::UNROUTED] {
            eventually(&format!("a consumer of {queue}"), async || {
                let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
                let declared = async |channel: &Channel| {
                    channel.queue_declare(queue.into(), passive, FieldTable::default()).await.expect("the queue")
                };
                (self.vhost.with_channel(declared).await.consumer_count() > 0).then_some(())
            })
            .await;
        }
    }

    /// Publishes whatever to wherever, with a header that nobody expects.
    pub(crate) async fn publish(&self, exchange: &str, key: &str, body: &[u8]) {
        let mut headers = FieldTable::default();
        headers.insert("x-\0".into(), AMQPValue::LongString("\0".into()));
        let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
        self.vhost.publish(exchange, key, properties, body).await;
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
    /// What a batch processor rings after a commit that left something in the outbox.
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
    Pool::new(database, PlannerProfile::Keys, 8).expect("the database's URL")
}

fn retry_delays() -> RetrySchedule {
    serde_json::from_value(serde_json::json!(RETRY_DELAYS)).expect("retry delays")
}

fn reconnects() -> Reconnects {
    Reconnects::new(&mut Registry::default())
}
