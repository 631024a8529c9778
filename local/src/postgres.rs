//! A private `PostgreSQL`.
//!
//! It runs in the foreground as our child, on 127.0.0.1 only, with passwords (SCRAM) and no Unix socket. What is
//! committed is on disk unless [`Durability::Throwaway`] was asked for.

mod error;
mod sessions;
mod settings;

use std::{ffi::OsString, fmt, path::Path, path::PathBuf, process::Stdio, time::Duration};

use rustix::process::Signal;
use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::{
    binaries,
    data_dir::DataDir,
    process::{EndSignal, Launch, Process},
    wait,
};
pub use error::PostgresError;

/// The superuser of the private server.
const USER: &str = "loyalty";

/// The database that every server has.
const MAINTENANCE_DATABASE: &str = "postgres";

/// A start recovers at most a few checkpoints' worth of log; a slow laptop disk needs seconds.
const START_LIMIT: Duration = Duration::from_secs(30);

/// `initdb` writes about 40 MB and syncs them.
const INITDB_LIMIT: Duration = Duration::from_secs(120);

/// A fast shutdown ends the sessions and writes a checkpoint.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// One attempt to connect while the server starts; over loopback it takes milliseconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// What a commit is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A commit is on disk, as in production.
    Durable,
    /// Nothing is synced: quick, and lost with the machine (not with a mere crash of the server). For tests, whose
    /// queries are not compiled either.
    Throwaway,
}

/// A private server. Dropping it asks the server to stop, and does not wait; [`Postgres::stop`] waits.
pub struct Postgres {
    data_dir: DataDir,
    binaries: PathBuf,
    port: u16,
    password: String,
    durability: Durability,
    process: Mutex<Option<Process>>,
}

impl fmt::Debug for Postgres {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Postgres {
    /// Starts a server whose commits are on disk, with its data in `dir/postgres`.
    pub async fn start(dir: &Path) -> Result<Self, PostgresError> {
        Self::start_with(dir, Durability::Durable).await
    }

    /// Starts a server with its data in `dir/postgres`, made at the first start, and waits until it answers.
    pub async fn start_with(dir: &Path, durability: Durability) -> Result<Self, PostgresError> {
        // Before anything is written: a machine without the programs gets no half-made directory.
        binaries::postgres(None)?;
        let data_dir = DataDir::open_not_as_root(dir, "postgres").await?;
        let major = std::fs::read_to_string(data_dir.dir().join("data/PG_VERSION")).unwrap_or_default();
        let binaries = binaries::postgres(Some(major.trim()))?;
        let (password, port) = (data_dir.password()?, data_dir.port("postgres")?);
        let server = Self { data_dir, binaries, port, password, durability, process: Mutex::new(None) };
        server.init().await?;
        server.start_again().await?;
        Ok(server)
    }

    /// The server that another process runs in `dir/postgres`: it can be used, and neither started nor stopped.
    pub fn attach(dir: &Path) -> Result<Self, PostgresError> {
        let data_dir = DataDir::attach(dir, "postgres")?;
        let (password, port) = (data_dir.password()?, data_dir.known_port("postgres")?);
        let (binaries, durability) = (PathBuf::new(), Durability::Throwaway);
        Ok(Self { data_dir, binaries, port, password, durability, process: Mutex::new(None) })
    }

    /// The URL of a database, password included.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database.
    pub async fn create_database(&self, name: &str) -> Result<(), PostgresError> {
        self.execute(format!("create database {}", quoted(name))).await
    }

    /// Makes a database that is a copy of another, in which nobody is at work.
    pub async fn copy_database(&self, name: &str, template: &str) -> Result<(), PostgresError> {
        self.execute(format!("create database {} template {}", quoted(name), quoted(template))).await
    }

    /// Makes a database unless it is there already.
    pub async fn ensure_database(&self, name: &str) -> Result<(), PostgresError> {
        match self.create_database(name).await {
            Err(PostgresError::Sql { source, .. }) if source.code() == Some(&SqlState::DUPLICATE_DATABASE) => Ok(()),
            result => result,
        }
    }

    /// Removes a database and ends the sessions in it. No such database is no error.
    pub async fn drop_database(&self, name: &str) -> Result<(), PostgresError> {
        self.execute(format!("drop database if exists {} with (force)", quoted(name))).await
    }

    /// Stops in good order and starts again on the same port.
    pub async fn restart(&self) -> Result<(), PostgresError> {
        self.stop().await;
        self.start_again().await
    }

    /// Ends the sessions, writes what is to be written and stops. Does nothing if it does not run.
    pub async fn stop(&self) {
        if let Some(process) = self.process.lock().await.take() {
            process.stop(STOP_LIMIT).await;
        }
    }

    /// Ends the server and all its sessions at once, as a power cut would. Does nothing if it does not run.
    pub async fn kill(&self) {
        let Some(process) = self.process.lock().await.take() else { return };
        // Stopped, it cannot start a session between the count and the end.
        process.signal(Signal::STOP);
        let sessions = sessions::of(process.pid());
        sessions::kill(&sessions);
        process.kill().await;
        // A session that still holds the shared memory would make the next start fail.
        if wait::within(STOP_LIMIT, async || sessions::all_gone(&sessions).then_some(())).await.is_none() {
            tracing::warn!("Sessions of a killed PostgreSQL do not end");
        }
    }

    /// Starts it after [`Postgres::stop`] or [`Postgres::kill`], on the same port with the same data. Does nothing
    /// if it runs.
    pub async fn start_again(&self) -> Result<(), PostgresError> {
        let mut slot = self.process.lock().await;
        if slot.as_ref().is_some_and(|process| process.exit_status().is_none()) {
            return Ok(());
        }
        let process = self.launch(
            "postgres",
            settings::server(&self.data(), self.port, self.durability),
            self.data_dir.lock_for_child()?,
        )?;
        self.wait_ready(&process).await?;
        *slot = Some(process);
        Ok(())
    }

    /// Resolves when the server that runs now has ended, for whatever reason; at once if none runs.
    pub async fn ended(&self) {
        let ended = self.process.lock().await.as_ref().map(Process::ended);
        if let Some(ended) = ended {
            ended.await;
        }
    }

    /// Where the server writes its log.
    pub fn log(&self) -> PathBuf {
        self.data_dir.log("postgres").path().to_path_buf()
    }

    fn data(&self) -> PathBuf {
        self.data_dir.dir().join("data")
    }

    /// Makes the cluster. It is built beside its place and moved there when it is whole, so that an interrupted
    /// first start leaves nothing that looks like a database.
    async fn init(&self) -> Result<(), PostgresError> {
        let data = self.data();
        if data.exists() {
            return Ok(());
        }
        let unfinished = self.data_dir.dir().join("data.new");
        let place = |source| PostgresError::Place { path: data.clone(), source };
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).map_err(place)?;
        }
        let process = self.launch(
            "initdb",
            settings::initdb(&unfinished, &self.data_dir.dir().join("password"), self.durability),
            Stdio::null(),
        )?;
        let in_time = tokio::time::timeout(INITDB_LIMIT, process.ended()).await.is_ok();
        if !in_time || !process.exit_status().is_some_and(|status| status.success()) {
            let log = self.data_dir.log("initdb");
            return Err(PostgresError::Init { tail: log.tail(), log: log.path().to_path_buf() });
        }
        std::fs::rename(&unfinished, &data).map_err(place)
    }

    fn launch(&self, program: &str, args: Vec<OsString>, stdin: Stdio) -> Result<Process, PostgresError> {
        let launch = Launch {
            program: self.binaries.join(program),
            args,
            env: vec![("PATH", binaries::child_path(&self.binaries)), ("LC_ALL", "C".into())],
            dir: self.data_dir.dir().to_path_buf(),
            user: self.data_dir.user().clone(),
            stdin,
            log: self.data_dir.log(program),
            // INT is the fast shutdown. TERM would wait until the last client leaves.
            stop_signal: EndSignal::Interrupt,
            orphan_signal: EndSignal::Interrupt,
        };
        Ok(Process::start(launch)?)
    }

    async fn wait_ready(&self, process: &Process) -> Result<(), PostgresError> {
        let ready = async || match (process.exit_status(), self.connect().await) {
            (None, answer) => answer.is_ok().then_some(true),
            (Some(_), _) => Some(false),
        };
        if wait::within(START_LIMIT, ready).await == Some(true) {
            return Ok(());
        }
        let log = self.data_dir.log("postgres");
        Err(PostgresError::Start { tail: log.tail(), log: log.path().to_path_buf() })
    }

    async fn execute(&self, statement: String) -> Result<(), PostgresError> {
        let run = async || self.connect().await?.batch_execute(&statement).await;
        run().await.map_err(|source| PostgresError::Sql { statement, source })
    }

    /// A session in the maintenance database. It ends when the client is dropped.
    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let mut config: tokio_postgres::Config = self.url(MAINTENANCE_DATABASE).parse()?;
        let (client, connection) = config.connect_timeout(CONNECT_LIMIT).connect(NoTls).await?;
        // Its error comes out of the client's calls as well.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }
}

/// An SQL identifier, whatever the name contains.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(quoted("plain"), "\"plain\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
