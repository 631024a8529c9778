//! A database of a test's own on a server that all tests share, and letters to fill it with.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use jiff::Timestamp;
use loyalty_common::{Action, Command, Earn, Partition, Points, Text, envelope, topology};
use loyalty_ledger::{BatchRequest, Changes, ParkedCommand};
use loyalty_local::{Durability, Postgres, Proxy};
use loyalty_store::batch::Batch;
use loyalty_store::dead_letter::{self, NewDeadLetter, Reason};
use loyalty_store::letters::{self, Filter, Letter, LetterId, Opened};
use loyalty_store::migrate;
use loyalty_store::permission::Permission;
use loyalty_store::pool::{DatabaseUrl, Pool, Use};
use serde_json::{Value, json};

pub(crate) struct World {
    pub(crate) pool: Pool,
    url: DatabaseUrl,
}

impl World {
    pub(crate) async fn start() -> Self {
        let world = Self::empty().await;
        migrate::migrate(&world.pool).await.expect("the tables");
        world
    }

    /// Without tables.
    pub(crate) async fn empty() -> Self {
        static WORLDS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("operator_{}", WORLDS.fetch_add(1, Ordering::Relaxed));
        let url = |database: &str| DatabaseUrl::known(format!("{}/{database}", server()));
        let admin = Pool::new(&url("postgres"), Use::Queries, 1).expect("a URL").get().await.expect("a connection");
        admin.batch_execute(&format!("create database {name}")).await.expect("a database");
        let url = url(&name);
        let pool = Pool::new(&url, Use::Queries, 4).expect("a URL");
        Self { pool, url }
    }

    /// Another pool for the same database, and the proxy that leads it there.
    pub(crate) async fn pool_by_proxy(&self) -> (Pool, Proxy) {
        let port =
            self.url.expose().rsplit_once('/').and_then(|(server, _)| server.rsplit_once(':')).expect("a port").1;
        let proxy = Proxy::start(format!("127.0.0.1:{port}").parse().expect("an address")).await.expect("a proxy");
        let url = self.url.expose().replace(&format!(":{port}/"), &format!(":{}/", proxy.addr().port()));
        (Pool::new(&DatabaseUrl::known(url), Use::Queries, 1).expect("a URL"), proxy)
    }

    pub(crate) async fn execute(&self, sql: &str) {
        self.pool.get().await.expect("a connection").batch_execute(sql).await.expect(sql);
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.pool.get().await.expect("a connection").query_one(sql, &[]).await.expect(sql).get(0)
    }

    /// Until so many wait for others' locks.
    pub(crate) async fn waiting_for_locks(&self, count: i64) {
        let waiting =
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        let waits = async {
            while self.number(waiting).await < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waits).await.expect("they wait for locks");
    }

    pub(crate) async fn record(&self, letters: &[NewDeadLetter]) {
        let client = self.pool.get().await.expect("a connection");
        dead_letter::record(&client, letters).await.expect("letters");
    }

    /// Letters in their order.
    pub(crate) async fn letters(&self, filter: &Filter) -> Vec<Letter> {
        letters::list(&self.pool, filter, None, 100).await.expect("a page")
    }

    pub(crate) async fn ids(&self) -> Vec<LetterId> {
        letters::matching(&self.pool, &Filter::default(), 100).await.expect("ids")
    }

    pub(crate) async fn open(&self, id: LetterId) -> Opened {
        letters::open(&self.pool, id).await.expect("a read").expect("a letter")
    }

    /// What was done to a letter, in words.
    pub(crate) async fn story(&self, id: LetterId) -> Vec<String> {
        let history = self.open(id).await.history;
        let word = |text: Option<String>| text.map(|text| format!(" {text}")).unwrap_or_default();
        let line = |event: letters::Event| {
            let result = word(event.result.map(|result| result.to_string()));
            format!("{} by {}{result}{}{}", event.action, event.actor, word(event.code), word(event.note))
        };
        history.into_iter().map(line).collect()
    }

    /// Writes as a worker does.
    pub(crate) async fn commit(&self, changes: &Changes) {
        let (batch, _) = Batch::open(&self.pool, &BatchRequest::default()).await.expect("a batch");
        batch.commit(changes, &[]).await.expect("a commit");
    }

    pub(crate) async fn park(&self, command: &Command) {
        let key = (command.member_id.clone(), command.command_id);
        let (batch, _) = Batch::open(&self.pool, &BatchRequest::of([command])).await.expect("a batch");
        let parked = vec![ParkedCommand { key, body: command.encode() }];
        batch.commit(&Changes { parked, ..Changes::default() }, &[]).await.expect("a commit");
    }
}

/// The URL, less its database, of one server for all tests, on a thread of its own: it ends with the thread that
/// started it.
fn server() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                // Under the build's own directory, where what a run leaves behind is cleared by the next.
                let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("store-operator");
                let _ = std::fs::remove_dir_all(&dir);
                std::fs::create_dir_all(&dir).expect("a directory");
                let postgres = Postgres::start_with(&dir, Durability::Throwaway).await.expect("PostgreSQL starts");
                let url = postgres.url("");
                tell.send(url.trim_end_matches('/').to_owned()).expect("somebody waits for it");
                std::future::pending::<()>().await;
                drop(postgres);
            });
        });
        told.recv().expect("the server starts")
    })
}

/// An operator who was asked and said yes.
pub(crate) fn operator(name: &str) -> Permission {
    Permission::confirmed(text(name), Some(text("after the outage")))
}

pub(crate) fn text(text: &str) -> Text {
    text.parse().expect("a text")
}

pub(crate) fn earn(member: &str, points: i64) -> Command {
    Command::new(
        member.parse().expect("a member id"),
        Action::Earn(Earn { points: Points::try_new(points).expect("points") }),
    )
}

/// The letter of a command.
pub(crate) fn letter(command: &Command, reason: Reason) -> NewDeadLetter {
    let partition = Partition::of(&command.member_id);
    NewDeadLetter {
        source: partition.queue(),
        reason,
        error: "too odd".to_owned(),
        member_id: Some(command.member_id.to_string()),
        command_id: Some(command.command_id.uuid()),
        command_type: Some(command.command_type().to_string()),
        email_id: None,
        exchange: topology::COMMANDS.to_owned(),
        routing_key: partition.routing_key(),
        message_id: Some(command.command_id.to_string()),
        headers: json!({}),
        body: command.encode(),
        repeated: false,
    }
}

/// The letter of a body that says nothing.
pub(crate) fn garbage(body: &[u8]) -> NewDeadLetter {
    NewDeadLetter {
        member_id: None,
        command_id: None,
        command_type: None,
        message_id: None,
        body: body.to_vec(),
        ..letter(&earn("nobody", 1), Reason::Malformed)
    }
}

/// A letter that a replay of `of` came to.
pub(crate) fn again(command: &Command, reason: Reason, of: LetterId) -> NewDeadLetter {
    let headers: Value = json!({"headers": {envelope::REPLAY_OF_HEADER: of.get()}});
    NewDeadLetter { headers, ..letter(command, reason) }
}

pub(crate) fn day(text: &str) -> Timestamp {
    format!("{text}T00:00:00Z").parse().expect("a time")
}
