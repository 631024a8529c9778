//! Least privilege: what each part of the product may do with the database and the broker is what it needs and no more.
//! That it is enough is what all other tests show: the programs of every world run under it.

use std::collections::BTreeMap;

use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ErrorKind};
use loyalty_common::amqp;
use loyalty_tests::{Account, Setup, World};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

/// What a role can be allowed to do with a table, and the words of the documentation for it.
const PRIVILEGES: [(&str, &str); 7] = [
    ("select", "read"),
    ("insert", "add"),
    ("update", "change"),
    ("delete", "remove"),
    ("truncate", "TRUNCATE"),
    ("references", "REFERENCES"),
    ("trigger", "TRIGGER"),
];

async fn connect(world: &World, account: Account) -> Client {
    let url = world.database_of(account);
    let (client, connection) = tokio_postgres::connect(url.expose(), NoTls).await.expect("a connection");
    // Its error comes out of the client's calls as well.
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// A table that a migration adds and nobody thought of fails here, be it in the file, the documentation or both.
#[tokio::test]
async fn each_role_may_do_with_each_table_what_the_documentation_says() {
    let world = World::start().await;
    let documented = documented();
    let tables = world.query("select tablename::text from pg_tables where schemaname = 'public' order by 1", &[]).await;
    let tables: Vec<String> = tables.iter().map(|row| row.get(0)).collect();
    assert_eq!(documented.keys().cloned().collect::<Vec<_>>(), tables, "the tables of docs/operating.md");
    for table in &tables {
        for (account, said) in Account::WITH_ROLE.iter().zip(&documented[table]) {
            let mut may = Vec::new();
            for (privilege, word) in PRIVILEGES {
                let question = "select has_table_privilege($1, $2, $3)";
                let answer = world.query(question, &[&account.to_string(), table, &privilege]).await;
                if answer[0].get(0) {
                    may.push(word);
                }
            }
            assert_eq!(may.join(", "), *said, "{account} and {table}");
        }
    }
}

/// The rows of the table in docs/operating.md: of each table what worker, bridge and operator may do.
fn documented() -> BTreeMap<String, Vec<String>> {
    const DOCUMENT: &str = include_str!("../../docs/operating.md");
    let begin = DOCUMENT.find("| table | worker | bridge | operator |").expect("the table of privileges");
    let rows = DOCUMENT[begin..].lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    rows.map(|row| {
        let mut cells = cells(row);
        let table = cells.remove(0).trim_matches('`').to_owned();
        (table, cells)
    })
    .collect()
}

/// Whatever a worker is tricked into: it owns nothing.
#[tokio::test]
async fn no_role_can_change_the_ledger_or_what_guards_it() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.enroll("ann").await;
    world.settled().await;
    for account in Account::WITH_ROLE {
        let client = connect(&world, account).await;
        for statement in [
            "update ledger set points = 1",
            "delete from ledger",
            "truncate ledger",
            "truncate member cascade",
            "alter table ledger disable trigger all",
            "alter table ledger add column x int",
            "drop trigger ledger_is_final on ledger",
            "drop table ledger",
            "create or replace function ledger_is_final() returns trigger language plpgsql as 'begin return new; end'",
            "create function f() returns int language sql as 'select 1'",
            "create table mine (x int)",
            "set session_replication_role = replica",
            "create role mine superuser",
            "update schema_migration set checksum = ''",
            "set role loyalty",
        ] {
            let refused = client.batch_execute(statement).await.expect_err(statement);
            assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{account}: {statement}: {refused}");
        }
    }
    let bridge = connect(&world, Account::Bridge).await;
    let secret = bridge.query("select from email", &[]).await.expect_err("no business of the bridge");
    assert_eq!(secret.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    let worker = connect(&world, Account::Worker).await;
    let secret = worker.query("select from token", &[]).await.expect_err("no business of the worker");
    assert_eq!(secret.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
}

/// Of every new broker. That of these tests is older, and lets workers ask for the depths of queues.
#[tokio::test]
async fn a_worker_needs_no_leave_to_declare_anything() {
    let world = World::start().await;
    world.permit_worker_only_what_it_needs().await;
    let _worker = world.worker().await;
    let _bridge = world.bridge().await;
    world.enroll_with_email("ann", "ann@example.com").await;
    world.earn("ann", 1000).await;
    world.settled().await;
    world.mailbox.wait_for(1).await;
}

async fn channel(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    channel
}

fn is_refused<T: std::fmt::Debug>(what: &str, answer: Result<T, lapin::Error>) {
    let refusal = answer.expect_err(what);
    let ErrorKind::ProtocolError(error) = refusal.kind() else { panic!("{what}: {refusal}") };
    assert_eq!(*error.kind(), AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED), "{what}");
}

async fn publishes(channel: &Channel, exchange: &str) -> Result<(), lapin::Error> {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    #[expect(clippy::disallowed_methods, reason = "what is tried is whether the broker lets it")]
    channel.basic_publish(exchange.into(), "send".into(), options, b"{}", properties).await?.await.map(drop)
}

#[tokio::test]
async fn a_publisher_and_the_bridge_can_publish_commands_and_nothing_else() {
    let world = World::start().await;
    for account in [Account::Publisher, Account::Bridge] {
        let connection = amqp::connect(&world.amqp_of(account), "tests").await.expect("a connection");
        publishes(&channel(&connection).await, "loyalty.commands").await.expect("a command");
        is_refused_all_but_commands(&connection).await;
        amqp::close(&connection).await;
    }
}

/// A refusal closes its channel.
async fn is_refused_all_but_commands(connection: &Connection) {
    for exchange in ["loyalty.emails", "loyalty.events", "loyalty.dead", "loyalty.unrouted", ""] {
        is_refused(exchange, publishes(&channel(connection).await, exchange).await);
    }
    for queue in ["loyalty.commands.00", "loyalty.emails", "loyalty.dead.commands", "loyalty.unrouted"] {
        let on = channel(connection).await;
        let consuming =
            on.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
        is_refused("consume", consuming.await);
        let on = channel(connection).await;
        is_refused("purge", on.queue_purge(queue.into(), QueuePurgeOptions::default()).await);
        let on = channel(connection).await;
        is_refused("delete", on.queue_delete(queue.into(), QueueDeleteOptions::default()).await);
    }
    let on = channel(connection).await;
    let declaring = on.queue_declare("mine".into(), QueueDeclareOptions::durable(), FieldTable::default());
    is_refused("declare", declaring.await);
}

#[tokio::test]
async fn a_listener_hears_events_by_queues_of_its_own_and_nothing_else() {
    let world = Setup::default().events().start().await;
    let connection = amqp::connect(&world.amqp_of(Account::Listener), "tests").await.expect("a connection");
    let on = channel(&connection).await;
    let own = "loyalty_listener.points";
    on.queue_declare(own.into(), QueueDeclareOptions::durable(), FieldTable::default()).await.expect("a queue");
    let bind = |on: Channel, exchange: &'static str| async move {
        let options = QueueBindOptions::default();
        on.queue_bind(own.into(), exchange.into(), "#".into(), options, FieldTable::default()).await
    };
    bind(on.clone(), "loyalty.events").await.expect("a binding");
    let consuming = on.basic_consume(own.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
    consuming.await.expect("a consumer");
    is_refused("bind", bind(channel(&connection).await, "loyalty.commands").await);
    is_refused("publish", publishes(&channel(&connection).await, "loyalty.commands").await);
    is_refused("publish", publishes(&channel(&connection).await, "loyalty.events").await);
    let on = channel(&connection).await;
    let consuming =
        on.basic_consume("loyalty.emails".into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
    is_refused("consume", consuming.await);
    amqp::close(&connection).await;
}
