//! A private `PgBouncer` before a `PostgreSQL`, for tests of what a pooler does.
//!
//! It takes the logins that it is told and hands each on to the server, so that a program behind it is the role that it
//! says it is. It listens on 127.0.0.1 only and keeps everything that it writes in one directory.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::{
    binaries::{self, MissingBinary},
    data_dir::{DataDir, DataDirError},
    lock::LockError,
    process::{EndSignal, Launch, Process, ProcessError},
    wait,
};

/// It reads two files and opens a port: milliseconds.
const START_LIMIT: Duration = Duration::from_secs(30);

/// It holds nothing that would have to be written.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// When a session of the server may go to another client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// When the client leaves.
    Session,
    /// After each transaction.
    Transaction,
    /// After each statement; there are no transactions of several.
    Statement,
}

impl PoolMode {
    /// As its configuration calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
            Self::Statement => "statement",
        }
    }
}

/// Why there is no pooler.
#[derive(Debug, thiserror::Error)]
pub enum PgBouncerError {
    #[error(transparent)]
    Missing(#[from] MissingBinary),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It ended, or did not listen in time.
    #[error("PgBouncer did not start; the end of {}:\n{tail}", log.display())]
    Start {
        /// Where the whole story is.
        log: PathBuf,
        tail: String,
    },
}

/// A private pooler. Dropping it ends it, and does not wait; [`PgBouncer::stop`] waits.
#[derive(Debug)]
pub struct PgBouncer {
    data_dir: DataDir,
    program: PathBuf,
    port: u16,
    process: Mutex<Option<Process>>,
}

impl PgBouncer {
    /// Starts one in `dir/pgbouncer` before the server at this address, with so many sessions for each role and
    /// database, and waits until it listens. `logins` are the roles and their passwords.
    pub async fn start(
        dir: &Path,
        server: SocketAddr,
        logins: &[(&str, &str)],
        mode: PoolMode,
        sessions: u8,
    ) -> Result<Self, PgBouncerError> {
        let program = binaries::pgbouncer()?;
        let data_dir = DataDir::open_not_as_root(dir, "pgbouncer").await?;
        let port = data_dir.port("pgbouncer")?;
        let roles = logins.iter().fold(String::new(), |mut text, (role, password)| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\"{role}\" \"{password}\"");
            text
        });
        data_dir.write(&data_dir.dir().join(ROLES), &roles)?;
        data_dir.write(&data_dir.dir().join(SETTINGS), &settings(server, port, mode, sessions))?;
        let pooler = Self { data_dir, program, port, process: Mutex::new(None) };
        pooler.start_again().await?;
        Ok(pooler)
    }

    /// Starts it after [`PgBouncer::stop`], on the same port. Does nothing if it runs.
    pub async fn start_again(&self) -> Result<(), PgBouncerError> {
        let mut slot = self.process.lock().await;
        if slot.as_ref().is_some_and(|process| process.exit_status().is_none()) {
            return Ok(());
        }
        let process = Process::start(Launch {
            program: self.program.clone(),
            args: vec![SETTINGS.into()],
            env: Vec::new(),
            dir: self.data_dir.dir().to_path_buf(),
            user: self.data_dir.user().clone(),
            stdin: self.data_dir.lock_for_child()?,
            log: self.data_dir.log("pgbouncer"),
            // What its gentler signals wait for differs from release to release.
            stop_signal: EndSignal::Kill,
            orphan_signal: EndSignal::Kill,
        })?;
        self.listens(&process).await?;
        *slot = Some(process);
        Ok(())
    }

    /// Ends it and every connection through it. Does nothing if it does not run.
    pub async fn stop(&self) {
        if let Some(process) = self.process.lock().await.take() {
            process.stop(STOP_LIMIT).await;
        }
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Where it writes its log.
    pub fn log(&self) -> PathBuf {
        self.data_dir.log("pgbouncer").path().to_path_buf()
    }

    async fn listens(&self, process: &Process) -> Result<(), PgBouncerError> {
        let answers = async || match (process.exit_status(), TcpStream::connect(self.addr()).await) {
            (None, answer) => answer.is_ok().then_some(true),
            (Some(_), _) => Some(false),
        };
        if wait::within(START_LIMIT, answers).await == Some(true) {
            return Ok(());
        }
        let log = self.data_dir.log("pgbouncer");
        Err(PgBouncerError::Start { tail: log.tail(), log: log.path().to_path_buf() })
    }
}

/// The file with what it is told.
const SETTINGS: &str = "pgbouncer.ini";

/// The file with the roles and their passwords.
const ROLES: &str = "roles";

fn settings(server: SocketAddr, port: u16, mode: PoolMode, sessions: u8) -> String {
    let (host, server_port, mode) = (server.ip(), server.port(), mode.name());
    format!(
        "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {ROLES}\npool_mode = {mode}\n\
         default_pool_size = {sessions}\n"
    )
}
