//! `RabbitMQ` takes seconds to boot, so one test tells the whole story of two boots.

use std::{
    fs::Permissions,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use loyalty_local::wait::within;
use loyalty_local::{Durability, LockError, Postgres, PostgresError, RabbitMq, Servers};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// Tells this binary, started a second time, in which directory to run servers until it is killed.
const VICTIM_DIR: &str = "LOYALTY_LOCAL_TEST_VICTIM";

/// What the victim says when all its servers run.
const READY: &str = "victim is ready";

/// Two boots of `RabbitMQ`, on a slow machine that does other things as well.
const READY_LIMIT: Duration = Duration::from_secs(180);

/// `RabbitMQ` takes six seconds to end in good order when nobody prepares it.
const ALL_GONE_LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_process_that_is_killed_but_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let mut victim = Victim::start(dir.path());
    victim.wait_ready();

    let second = Postgres::start(dir.path()).await.unwrap_err();
    assert!(second.to_string().contains(&format!("in use by process {}", victim.0.id())), "{second}");

    let children = descendants(victim.0.id());
    let names: Vec<String> = children.iter().map(|pid| name(*pid)).collect();
    for expected in ["beam.smp", "epmd", "erl_child_setup", "inet_gethost", "postgres"] {
        assert!(names.iter().any(|name| name == expected), "{expected} is not in {names:?}");
    }
    victim.0.kill().unwrap();
    victim.0.wait().unwrap();

    // Started at once: it waits for the dying servers instead of meeting them.
    let postgres = Postgres::start_with(dir.path(), Durability::Throwaway).await.unwrap();
    let kept = postgres.create_database("kept").await.unwrap_err();
    assert!(matches!(kept, PostgresError::Sql { .. }), "the database is there already: {kept}");
    postgres.drop_database("kept").await.unwrap();
    postgres.stop().await;

    let remain = || children.iter().filter(|pid| is_alive(**pid)).map(|pid| name(*pid)).collect::<Vec<_>>();
    let gone = within(ALL_GONE_LIMIT, async || remain().is_empty().then_some(())).await;
    assert!(gone.is_some(), "still there: {:?}", remain());
}

/// Not a test of its own: the process that the test above starts and kills. Alone it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_victim_of_the_test_above() {
    #[expect(clippy::disallowed_methods, reason = "a variable of this test's own, for its copy of itself")]
    let Some(dir) = std::env::var_os(VICTIM_DIR).map(PathBuf::from) else { return };
    let servers = Servers::start(&dir, Durability::Throwaway).await.unwrap();
    let Servers { postgres, rabbitmq } = &servers;

    postgres.create_database("kept").await.unwrap();
    postgres.kill().await;
    assert!(TcpStream::connect(("127.0.0.1", postgres.port())).await.is_err());
    postgres.start_again().await.unwrap();
    postgres.restart().await.unwrap();

    rabbitmq.create_vhost("a/b").await.unwrap();
    rabbitmq.create_vhost("a/b").await.unwrap();
    rabbitmq.kill().await;
    assert!(TcpStream::connect(("127.0.0.1", rabbitmq.port())).await.is_err());
    rabbitmq.start_again().await.unwrap();
    rabbitmq.delete_vhost("a/b").await.unwrap();
    rabbitmq.delete_vhost("a/b").await.unwrap_err();
    only_on_loopback(rabbitmq, postgres);

    // On a line of its own: the test runner has begun one.
    println!("\n{READY}");
    // Until the kill. A test that dies first leaves no victim behind either: the pipe ends.
    let _ = std::io::stdin().read(&mut [0]);
}

#[tokio::test]
async fn a_server_that_cannot_start_shows_the_end_of_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let postgres = Postgres::start_with(dir.path(), Durability::Throwaway).await.unwrap();
    postgres.stop().await;
    std::fs::remove_file(dir.path().join("postgres/data/global/pg_control")).unwrap();
    let error = postgres.start_again().await.unwrap_err().to_string();
    assert!(error.contains("could not find the database system"), "{error}");
    assert!(error.contains("log/postgres.log"), "{error}");
}

#[tokio::test]
async fn a_directory_has_one_user_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = Postgres::start_with(dir.path(), Durability::Throwaway).await.unwrap();
    let second = Postgres::start(dir.path()).await.unwrap_err();
    let PostgresError::DataDir(loyalty_local::DataDirError::Lock(LockError::InUse { pid, .. })) = second else {
        panic!("{second}")
    };
    assert_eq!(pid, std::process::id());
    first.stop().await;
}

#[tokio::test]
async fn files_that_lie_elsewhere_are_found_again_and_cleared_away() {
    let dir = closed_dir();
    let place = start_and_stop(dir.path()).await;
    assert_eq!(start_and_stop(dir.path()).await, place);
    dir.close().unwrap();
    let next = closed_dir();
    start_and_stop(next.path()).await;
    assert!(!place.exists());
    let last = next.path().join("postgres").canonicalize().unwrap();
    next.close().unwrap();
    let _ = std::fs::remove_dir_all(last);
}

/// A directory that other accounts cannot pass through. Only under root does that send the files elsewhere.
fn closed_dir() -> TempDir {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap()
}

/// Where the server's files really are.
async fn start_and_stop(dir: &Path) -> PathBuf {
    let server = Postgres::start_with(dir, Durability::Throwaway).await.unwrap();
    server.stop().await;
    dir.join("postgres").canonicalize().unwrap()
}

/// This binary once more, running servers until it is killed.
struct Victim(Child);

impl Victim {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "servers::the_victim_of_the_test_above", "--nocapture"]);
        command.env(VICTIM_DIR, dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn wait_ready(&mut self) {
        let deadline = Instant::now() + READY_LIMIT;
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).take_while(|_| Instant::now() < deadline).any(|line| line == READY);
        assert!(ready, "the victim ended before its servers ran");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every socket on which a server of ours listens has a loopback address.
fn only_on_loopback(rabbitmq: &RabbitMq, postgres: &Postgres) {
    let listeners: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| std::fs::read_to_string(table).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.split_whitespace().nth(3) == Some("0A"))
        .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
        .collect();
    for port in [rabbitmq.port(), postgres.port()] {
        let suffix = format!(":{port:04X}");
        let addresses: Vec<&String> = listeners.iter().filter(|address| address.ends_with(&suffix)).collect();
        assert!(addresses.iter().all(|address| address.starts_with("0100007F:")), "{addresses:?}");
        assert!(!addresses.is_empty());
    }
}

fn descendants(parent: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().filter_map(Result::ok);
    let children = tasks.flat_map(|task| {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()
    });
    children.flat_map(|child| std::iter::once(child).chain(descendants(child))).collect()
}

fn name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
