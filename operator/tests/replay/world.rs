//! One test's world: a database and a virtual host of its own, with a worker, dead letters and operators who replay
//! them.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use lapin::BasicProperties;
use loyalty_common::publisher::{self, Publisher};
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology::Topology;
use loyalty_common::{Action, Command, Earn, Enroll, Partition, Points, Spend, topology};
use loyalty_operator::dry_run::{Prediction, dry_run};
use loyalty_operator::replay::{Pace, ReplayOutcome, Replayer};
use loyalty_store::PAGE_MAX;
use loyalty_store::approval::OperatorApproval;
use loyalty_store::dead_letters::{self, Concluded, DeadLetterId, DeadLetterState, Filter, NewDeadLetter, Reason};
use loyalty_store::pool::{DatabaseUrl, PlannerProfile};
use loyalty_store::{Pool, rebuild, verify};
use loyalty_testkit::{PATIENCE, eventually};
use loyalty_worker::mail::{MailSettings, RetrySchedule, SmtpUrl};
use loyalty_worker::maintenance::Maintenance;
use loyalty_worker::metrics::PointsMoved;
use loyalty_worker::registered_programme::RegisteredProgramme;
use loyalty_worker::sweep::Sweep;
use loyalty_worker::warnings::Warnings;
use loyalty_worker::{Events, Limits, Metrics, Programme, Settings, run};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// As fast as it goes, and patient.
pub(crate) const AT_ONCE: Pace = Pace { per_second: None, canary: None, patience: PATIENCE };

/// Points that the database refuses to enter, for a reason of its own.
pub(crate) const CURSED: i64 = 666;

const CURSE: &str = "
    create function refuse() returns trigger language plpgsql as $$ begin
        raise exception 'cursed';
    end $$;
    create trigger refuse before insert on ledger for each row when (new.points = 666) execute function refuse()";

pub(crate) struct World {
    kit: loyalty_testkit::World,
    /// As the worker's own.
    pub(crate) pool: Pool,
}

impl Deref for World {
    type Target = loyalty_testkit::World;

    fn deref(&self) -> &Self::Target {
        &self.kit
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let world = loyalty_testkit::World::start("replay", &Topology::new(retry_delays().delays())).await;
        let pool = world.pool_for(PlannerProfile::Keys, 8);
        Self { kit: world, pool }
    }

    pub(crate) fn broker_port(&self) -> u16 {
        self.rabbitmq().port()
    }

    /// From now on the database refuses commands of [`CURSED`] points.
    pub(crate) async fn curse(&self) {
        self.execute(CURSE).await;
    }

    /// Transactions in this world's database that were committed, and those that were rolled back. Asked from another
    /// database, so that the question is not among them.
    pub(crate) async fn transactions(&self) -> (i64, i64) {
        let elsewhere = Pool::new(&DatabaseUrl::known(self.postgres().url("postgres")), PlannerProfile::Keys, 1);
        let client = elsewhere.expect("a URL").get().await.expect("a connection");
        let query = "select xact_commit, xact_rollback from pg_stat_database where datname = $1";
        let row = client.query_one(query, &[&self.name()]).await.expect("its figures");
        (row.get(0), row.get(1))
    }

    /// As usual, but for how long commands wait for an enrolment.
    pub(crate) fn maintenance(&self, parked_keep: Duration) -> Maintenance {
        let programme = Arc::new(RegisteredProgramme::new(Programme::default()));
        let (late, events) = (Limits::default().sweep_late, Events::On);
        Maintenance {
            pool: self.pool.clone(),
            parked_keep,
            sends_emails: true,
            sweep: Sweep { programme, late, events, event_relay: Arc::default(), points: PointsMoved::default() },
            warnings: Warnings { expiry: None, events, email_relay: Arc::default(), event_relay: Arc::default() },
        }
    }

    pub(crate) async fn balance(&self, member: &str) -> i64 {
        self.number(&format!("select coalesce(sum(balance), 0)::bigint from member where member_id = '{member}'")).await
    }

    /// A worker that takes commands by now.
    pub(crate) async fn worker(&self) -> Worker {
        self.worker_with(Metrics::new(&mut Registry::default())).await
    }

    /// The same, with metrics to look at.
    pub(crate) async fn worker_with(&self, metrics: Metrics) -> Worker {
        self.worker_telling(Events::Off, metrics).await
    }

    /// The same, with or without events.
    pub(crate) async fn worker_telling(&self, events: Events, metrics: Metrics) -> Worker {
        let (stop, (consuming, mut consumes)) = (CancellationToken::new(), watch::channel(false));
        let smtp = Some(SmtpUrl::known(self.mailbox.url()));
        let settings = Settings {
            amqp: self.amqp(),
            database: self.database_url(),
            programme: Programme::default(),
            events,
            mail: MailSettings { smtp, retry_delays: retry_delays(), ..MailSettings::default() },
            limits: Limits::default(),
        };
        let task = tokio::spawn(run(settings, metrics, consuming, stop.clone()));
        consumes.wait_for(|consumes| *consumes).await.expect("the worker lives");
        Worker { stop, task }
    }

    /// Publishes whatever as a command.
    pub(crate) async fn publish(&self, key: &str, properties: BasicProperties, body: &[u8]) {
        self.vhost.publish(topology::COMMANDS, key, properties, body).await;
    }

    pub(crate) async fn record(&self, dead_letters: &[NewDeadLetter]) {
        let client = self.pool.get().await.expect("a connection");
        dead_letters::record(&client, dead_letters).await.expect("dead letters");
    }

    /// Dead letters that are open.
    pub(crate) async fn open(&self) -> Vec<DeadLetterId> {
        let filter = Filter { states: vec![DeadLetterState::Open], ..Filter::default() };
        dead_letters::matching(&self.pool, &filter, 100_000).await.expect("ids")
    }

    /// Waits until so many dead letters are open.
    pub(crate) async fn set_aside(&self, count: usize) -> Vec<DeadLetterId> {
        eventually(&format!("{count} open dead letters"), async || {
            Some(self.open().await).filter(|dead_letters| dead_letters.len() >= count)
        })
        .await
    }

    pub(crate) async fn state(&self, id: DeadLetterId) -> DeadLetterState {
        dead_letters::open(&self.pool, id).await.expect("a read").expect("a dead letter").dead_letter.state
    }

    pub(crate) async fn dry_run(&self, ids: &[DeadLetterId]) -> Vec<Prediction> {
        let dead_letters = dead_letters::replayable(&self.pool, ids).await.expect("dead letters");
        dry_run(&self.pool, &Programme::default(), &dead_letters).await.expect("a dry run")
    }

    pub(crate) fn replayer(&self, pace: Pace) -> Replayer {
        self.replayer_at(self.amqp(), pace)
    }

    pub(crate) fn replayer_at(&self, amqp: SecretUrl, pace: Pace) -> Replayer {
        let confirm_timeout = Duration::from_secs(2);
        let limits = publisher::Limits { window: 100, confirm_timeout, ..publisher::Limits::default() };
        Replayer { pool: self.pool.clone(), publisher: Publisher::start(amqp, "replay", limits), pace }
    }

    pub(crate) async fn replay(&self, ids: &[DeadLetterId]) -> ReplayOutcome {
        replay(&self.replayer(AT_ONCE), ids).await
    }

    /// Every promise holds.
    pub(crate) async fn verified(&self) {
        let report = verify::verify(&self.pool, |_| {}).await.expect("a report");
        assert!(report.is_clean(), "{report:?}");
        // What the worker's rules came to is what a rebuild computes from the ledger.
        let everybody = rebuild::members(&self.pool, &rebuild::Selection::default(), None, PAGE_MAX).await;
        let differences = rebuild::differences(&self.pool, &everybody.expect("a page")).await.expect("a look");
        assert_eq!(differences, []);
    }
}

pub(crate) struct Worker {
    stop: CancellationToken,
    task: JoinHandle<Result<(), loyalty_worker::Error>>,
}

impl Worker {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("a good end");
    }
}

pub(crate) async fn replay(replayer: &Replayer, ids: &[DeadLetterId]) -> ReplayOutcome {
    let never = CancellationToken::new();
    replayer.run(ids, &operator("eve"), &never, &mut |_| {}).await.expect("a report")
}

pub(crate) fn ends(report: &ReplayOutcome) -> Vec<Concluded> {
    let mut concluded = report.concluded.clone();
    concluded.sort_by_key(|(id, _)| *id);
    concluded.into_iter().map(|(_, end)| end).collect()
}

pub(crate) fn operator(name: &str) -> OperatorApproval {
    OperatorApproval::confirmed(name.parse().expect("a text"), None)
}

pub(crate) fn command(member: &str, action: Action) -> Command {
    Command::new(member.parse().expect("a member id"), action)
}

pub(crate) fn enroll(member: &str) -> Command {
    command(member, Action::Enroll(Enroll { email: None, name: None }))
}

pub(crate) fn earn(member: &str, points: i64) -> Command {
    command(member, Action::Earn(Earn { points: Points::try_new(points).expect("points") }))
}

pub(crate) fn spend(member: &str, points: i64) -> Command {
    command(member, Action::Spend(Spend { points: Points::try_new(points).expect("points") }))
}

/// The dead letter of a command that once killed its worker.
pub(crate) fn dead_letter(command: &Command) -> NewDeadLetter {
    NewDeadLetter {
        source: topology::DEAD_COMMANDS.to_owned(),
        reason: Reason::Crashed,
        error: "RabbitMQ gave it up".to_owned(),
        member_id: Some(command.member_id.to_string()),
        command_id: Some(command.command_id.uuid()),
        command_type: Some(command.command_type().to_string()),
        email_id: None,
        exchange: topology::COMMANDS.to_owned(),
        routing_key: Partition::of(&command.member_id).routing_key(),
        message_id: Some(command.command_id.to_string()),
        headers: json!({}),
        body: command.encode(),
        repeated: false,
    }
}

/// Retry delays as short as they can be.
fn retry_delays() -> RetrySchedule {
    serde_json::from_value(json!(["1s"])).expect("retry delays")
}
