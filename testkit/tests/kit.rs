//! The harness itself: what tests share, what each has for itself, and that nothing stays behind.

use std::path::PathBuf;
use std::process::Stdio;

use loyalty_common::topology::Topology;
use loyalty_local::{Postgres, RabbitMq};
use loyalty_testkit::{Database, World, eventually, servers};
use tokio::process::Command;

#[tokio::test]
async fn each_test_has_the_tables_of_this_release_and_no_rows_of_another() {
    let (mine, yours) = (Database::start("kit").await, Database::start("kit").await);
    assert_eq!(mine.number("select count(*) from member").await, 0);
    mine.execute("create table mine ()").await;
    let seen = yours.number("select count(*) from pg_class where relname = 'mine'").await;
    assert_eq!(seen, 0);
}

#[tokio::test]
async fn what_a_test_leaves_on_shared_servers_goes() {
    let database = Database::start("kit").await;
    let (name, postgres) = (database.name().to_owned(), servers::postgres().await);
    drop(database);
    let all = Database::empty("kit").await;
    let left = format!("select count(*) from pg_database where datname = '{name}'");
    eventually("the database is dropped", async || (all.number(&left).await == 0).then_some(())).await;
    drop(postgres);
}

#[tokio::test]
async fn a_server_taken_in_turn_runs_whatever_the_test_before_did_to_it() {
    let harmed = servers::postgres_in_turn().await;
    harmed.stop().await;
    drop(harmed);
    let again = servers::postgres_in_turn().await;
    Database::on(again.clone(), "kit").await.execute("select 1").await;
}

#[tokio::test]
async fn servers_of_the_whole_run_are_used_and_end_with_it() {
    let mut run = Command::new(env!("CARGO_BIN_EXE_with-servers"));
    run.args(["sh", "-c", r#"echo "$LOYALTY_TEST_SERVERS"; read -r _; exit 7"#]);
    let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(run.stdout.take().expect("a pipe")));
    let dir = PathBuf::from(lines.next_line().await.expect("a line").expect("the directory"));

    let (postgres, rabbitmq) = (Postgres::attach(&dir).expect("there"), RabbitMq::attach(&dir).expect("there"));
    let world = World::on(postgres.into(), rabbitmq.into(), "kit", &Topology::new(&[])).await;
    assert_eq!(world.number("select count(*) from member").await, 0);
    world.rabbitmq().set_memory_alarm(false).await.expect("the node can be asked");
    world.postgres().restart().await.expect_err("it is not ours to start");

    drop(run.stdin.take());
    let status = run.wait().await.expect("it ends");
    assert_eq!(status.code(), Some(7), "as the command ended");
    eventually("everything goes", async || (!dir.exists()).then_some(())).await;
}
