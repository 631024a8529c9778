//! Verbs that look: what stands in the database and in the queues. Plain SQL, independent of the product's own
//! reading, so that a mistake there cannot hide one here.

use std::collections::BTreeSet;

use loyalty_common::amqp;
use loyalty_common::{Command, CommandId, Partition};
use loyalty_store::PAGE_MAX;
use loyalty_store::{StoreError, rebuild, verify};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::settled::MARKER;
use crate::world::World;
use loyalty_local::wait::eventually;

/// How a member stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// unenrolled, active or exited.
    pub status: String,
    pub epoch: i32,
    /// Points to spend.
    pub balance: i64,
    /// Points that holds set aside.
    pub held: i64,
    /// Points that are owed.
    pub debt: i64,
    /// Points earned in this membership.
    pub lifetime: i64,
}

/// A message that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The queue it came from.
    pub source: String,
    /// The class of its fault.
    pub reason: String,
    /// What exactly was wrong.
    pub error: String,
    /// Whom it was about, if that could be read.
    pub member_id: Option<String>,
    /// Byte for byte.
    pub body: Vec<u8>,
    /// How often it was set aside.
    pub attempts: i32,
}

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl World {
    /// How a member stands. The member must be known.
    pub async fn member(&self, member: &str) -> Member {
        const MEMBER: &str = "select status, epoch, balance, held, debt, lifetime from member where member_id = $1";
        let rows = self.query(MEMBER, &[&member]).await;
        let row = rows.first().unwrap_or_else(|| panic!("nobody has heard of {member}"));
        Member {
            status: row.get("status"),
            epoch: row.get("epoch"),
            balance: row.get("balance"),
            held: row.get("held"),
            debt: row.get("debt"),
            lifetime: row.get("lifetime"),
        }
    }

    /// A member's ledger in words, oldest first: `earn 50 applied = 50`, `spend 60 insufficient_points = 50`.
    pub async fn story(&self, member: &str) -> Vec<String> {
        const STORY: &str = "
            select concat_ws(' ', type, points, coalesce(code, 'applied'), '=', balance_after)
            from ledger where member_id = $1 order by seq";
        self.query(STORY, &[&member]).await.iter().map(|row| row.get(0)).collect()
    }

    /// The ids of a member's ledger, oldest first.
    pub async fn ledger_ids(&self, member: &str) -> Vec<CommandId> {
        let rows = self.query("select command_id from ledger where member_id = $1 order by seq", &[&member]).await;
        rows.iter().map(|row| CommandId::from(row.get::<_, Uuid>(0))).collect()
    }

    /// The ids of all commands of a partition that are decided.
    pub async fn decided_in(&self, partition: Partition) -> BTreeSet<CommandId> {
        const DECIDED: &str = "select command_id from ledger where partition = $1";
        let rows = self.query(DECIDED, &[&i16::from(partition.number())]).await;
        let ids = rows.iter().map(|row| CommandId::from(row.get::<_, Uuid>(0)));
        ids.filter(|id| !id.is_of_system_row()).collect()
    }

    pub async fn ledger_rows(&self) -> i64 {
        self.count(&format!("ledger where member_id not like '{MARKER}%'")).await
    }

    /// Waits until so many more rows stand in the ledger.
    pub async fn applies(&self, rows: i64) {
        let enough = self.ledger_rows().await + rows;
        let what = format!("{rows} more commands are applied");
        eventually(&what, async || (self.ledger_rows().await >= enough).then_some(())).await;
    }

    /// Whether the ledger has a row of this command.
    pub async fn is_in_ledger(&self, command_id: CommandId) -> bool {
        self.count(&format!("ledger where command_id = '{command_id}'")).await > 0
    }

    /// How many commands of a member wait for the enrolment.
    pub async fn parked(&self, member: &str) -> i64 {
        self.query("select count(*) from parked where member_id = $1", &[&member]).await[0].get(0)
    }

    /// A member's rewards in words, oldest first: `1 at 1000: sent`.
    pub async fn rewards(&self, member: &str) -> Vec<String> {
        const REWARDS: &str = "
            select format('%s at %s: %s', number, reward.points, coalesce(state, 'no email at all'))
            from reward left join email using (member_id, epoch, number)
            where member_id = $1 order by epoch, number";
        self.query(REWARDS, &[&member]).await.iter().map(|row| row.get(0)).collect()
    }

    /// Waits until an email of the member is in this state.
    pub async fn reaches(&self, member: &str, state: &str) {
        let emails = format!("email where member_id = '{member}' and state = '{state}'");
        eventually(&format!("an email is {state}"), async || (self.count(&emails).await > 0).then_some(())).await;
    }

    /// Waits until every email is sent, or will not be.
    pub async fn mailed(&self) {
        const ON_ITS_WAY: &str = "email where state in ('queued', 'sending', 'retrying')";
        let all = async || (self.count(ON_ITS_WAY).await + self.count("outbox").await == 0).then_some(());
        eventually("every email is sent or set aside", all).await;
    }

    /// Everything that was set aside, oldest first.
    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        const ALL: &str = "
            select source, reason, error, member_id, body, attempts from dead_letter order by dead_letter_id";
        let dead_letter = |row: &Row| DeadLetter {
            source: row.get(0),
            reason: row.get(1),
            error: row.get(2),
            member_id: row.get(3),
            body: row.get(4),
            attempts: row.get(5),
        };
        self.query(ALL, &[]).await.iter().map(dead_letter).collect()
    }

    /// The number of rows of a table, or of a table `where ...`.
    pub async fn count(&self, rows: &str) -> i64 {
        self.query(&format!("select count(*) from {rows}"), &[]).await[0].get(0)
    }

    /// Messages of a queue that no consumer holds. The broker may say 0 too early, and never too much: wait for the
    /// number you expect.
    pub async fn ready(&self, queue: &str) -> u32 {
        self.declared(queue).await.message_count()
    }

    /// Waits until somebody consumes a queue.
    pub async fn consumed(&self, queue: &str) {
        let consumed = async || (self.declared(queue).await.consumer_count() > 0).then_some(());
        eventually("the queue is consumed", consumed).await;
    }

    async fn declared(&self, queue: &str) -> lapin::Queue {
        let connection = amqp::connect(&self.amqp(), "tests").await.expect("a connection to the broker");
        let channel = connection.create_channel().await.expect("a channel");
        let options = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = channel.queue_declare(queue.into(), options, lapin::types::FieldTable::default());
        let declared = declared.await.expect("the queue stands");
        amqp::close(&connection).await;
        declared
    }

    /// Each member's ledger holds exactly these commands, each once, in this order.
    pub async fn holds_in_order(&self, commands: &[Command]) {
        let mut members: Vec<_> = commands.iter().map(|command| &command.member_id).collect();
        members.sort();
        members.dedup();
        for member in members {
            let expected: Vec<CommandId> =
                commands.iter().filter(|it| it.member_id == *member).map(|it| it.command_id).collect();
            assert_eq!(self.ledger_ids(member.as_str()).await, expected, "the ledger of {member}");
        }
    }

    /// The promises hold: `loyalty verify --deep` would find nothing, and `loyalty rebuild` nothing to repair.
    pub async fn verified(&self) {
        let deep = verify::refold_members(&self.pool, 1, |_| {}).await.expect("every member is folded");
        assert_eq!(deep.broken, 0, "{deep:#?}");
        self.sums_hold().await;
    }

    /// The same without `--deep`, where a test has changed by hand what a command was decided by.
    pub async fn sums_hold(&self) {
        let report = verify::verify(&self.pool, |_| {}).await.expect("the checks run");
        let broken: Vec<_> = report.checks.iter().filter(|finding| finding.broken > 0).collect();
        assert!(broken.is_empty(), "{broken:#?}");
        assert!(report.is_clean(), "{:#?}", report.balance_sheet);
        let everybody = rebuild::Selection::default();
        let mut after = None;
        loop {
            let page = rebuild::members(&self.pool, &everybody, after.as_ref(), PAGE_MAX).await.expect("a page");
            let Some(last) = page.last().cloned() else { break };
            assert_eq!(rebuild::differences(&self.pool, &page).await.expect("a look"), []);
            after = Some(last);
        }
    }

    /// Runs a query of the test's own. The database must be there.
    pub async fn query(&self, sql: &str, parameters: Parameters<'_>) -> Vec<Row> {
        self.try_query(sql, parameters).await.unwrap_or_else(|error| panic!("{error:?} in {sql}"))
    }

    /// Runs a statement of the test's own, and answers how the server refuses it.
    pub async fn execute(&self, statement: &str) -> Result<(), String> {
        let client = self.pool.get().await.expect("a connection to the database");
        let refused = |error: tokio_postgres::Error| error.as_db_error().expect("a refusal").message().to_owned();
        client.batch_execute(statement).await.map_err(refused)
    }

    pub(crate) async fn try_query(&self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, StoreError> {
        Ok(self.pool.get().await?.query(sql, parameters).await?)
    }
}
