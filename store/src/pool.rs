//! Connections to PostgreSQL, bounded in number and in how long anything may take.

mod pooler;
mod security;

use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, PoolError, RecyclingMethod, Runtime, Timeouts};
use loyalty_common::tls::{TlsError, Untrusted};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connection::Connection;
pub use pooler::{Sessions, look_for_shared_sessions, shared_sessions_later};
use security::Security;

pub use security::{Database, DatabaseUrl};

/// How long getting a connection may take, all told. Longer than a database's restart answers refused connections,
/// shorter than anybody waits for an answer.
const GET_TIMEOUT: Duration = Duration::from_secs(5);

/// A statement that runs longer is ended by the server: dropping its future would leave it running. Well under the
/// broker's 30 minutes for an acknowledgement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A lock that is not granted within this time is tried again later. Below [`STATEMENT_TIMEOUT`], so that waiting for
/// a neighbour is never taken for a command that the database cannot bear.
const LOCK_TIMEOUT: &str = "10s";

/// A transaction in which nothing happens for this long belongs to a process that is gone: the server ends it, and
/// with it the locks that others wait for.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "60s";

/// A server that has vanished without a word is noticed within about this time, with something in flight or not.
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannerProfile {
    /// Lookups and writes by key only. A plan made while the tables were empty would scan them when they are full
    /// (six times slower, measured), so scans and the joins that need them are switched off. So is compiling: a
    /// statement that must scan looks so dear then that the server would compile it, each time, for milliseconds. So
    /// are bitmaps: what takes the first rows of a partition by its key would gather and sort all of them.
    Keys,
    /// Anything: searches, sums, checks.
    Queries,
}

/// A bounded set of connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    connections: deadpool_postgres::Pool,
    url: DatabaseUrl,
}

impl Pool {
    /// A pool of at most `size` connections. Connects when first used, so that it can be made while the server is
    /// away.
    pub fn new(url: &DatabaseUrl, uses: PlannerProfile, size: usize) -> Result<Self, StoreError> {
        Self::with_timeout(url, uses, size, STATEMENT_TIMEOUT)
    }

    /// As [`new`](Self::new), for callers who stop waiting after `patience`: the server ends a statement then, too,
    /// rather than work on for nobody. To the millisecond.
    pub fn with_timeout(
        url: &DatabaseUrl,
        uses: PlannerProfile,
        size: usize,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let (mut config, security) = security::read(url)?;
        config.application_name("loyalty");
        config.connect_timeout(GET_TIMEOUT);
        config.tcp_user_timeout(PEER_TIMEOUT);
        config.keepalives_idle(PEER_TIMEOUT / 3).keepalives_interval(PEER_TIMEOUT / 3).keepalives_retries(2);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match security {
            Security::Off => Manager::from_config(config, NoTls, recycling),
            Security::Verified(tls) => Manager::from_config(config, MakeRustlsConnect::new(*tls), recycling),
        };
        let connections = deadpool_postgres::Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(GET_TIMEOUT), create: Some(GET_TIMEOUT), recycle: Some(GET_TIMEOUT) })
            .post_create(prepared_for(uses, patience))
            .build()
            .expect("a runtime is given, which is all that building asks for");
        Ok(Self { connections, url: url.clone() })
    }

    /// A connection, for as long as the caller holds it.
    pub async fn get(&self) -> Result<Connection, StoreError> {
        self.connections.get().await.map(Connection::new).map_err(|error| match Untrusted::of(&error, &self.url) {
            Some(problem) => StoreError::Untrusted(problem),
            None => StoreError::Connect(error),
        })
    }

    /// Whether the server answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.get().await?.batch_execute("").await.map_err(StoreError::Query)
    }
}

/// Settings by statement rather than in the connection's options, which poolers between us and the server drop.
fn prepared_for(uses: PlannerProfile, patience: Duration) -> Hook {
    let patience_ms = patience.as_millis();
    let by_key = match uses {
        PlannerProfile::Keys => {
            "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off;
             set enable_bitmapscan = off; set jit = off;"
        }
        PlannerProfile::Queries => "",
    };
    let settings = format!(
        "set statement_timeout = '{patience_ms}ms'; set lock_timeout = '{LOCK_TIMEOUT}';
         set idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_TIMEOUT}'; set timezone = 'UTC'; {by_key}"
    );
    Hook::async_fn(move |client, _| {
        let settings = settings.clone();
        Box::pin(async move { client.batch_execute(&settings).await.map_err(HookError::Backend) })
    })
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file that says which certificates are believed is of no use.
    #[error(transparent)]
    Authorities(TlsError),
    /// The server's certificate is not believed.
    #[error("could not connect to PostgreSQL: {0}")]
    Untrusted(Untrusted),
    /// A pooler gives the server's sessions to others between transactions.
    #[error(
        "a pooler stands before PostgreSQL and shares its sessions between transactions; set `pool_mode = session` for this database, or connect to the server itself"
    )]
    SharedSessions,
    /// There was no connection to be had.
    #[error("could not connect to PostgreSQL")]
    Connect(#[source] deadpool_postgres::PoolError),
    /// The server refused a statement, or was lost while it ran. Told in our own words and without the driver's
    /// error as its source, because the server's details quote whole rows, names and addresses included.
    #[error("PostgreSQL refused or lost a statement: {}", without_details(.0))]
    Query(tokio_postgres::Error),
    /// The system has no randomness to give.
    #[error("the system gave no random numbers")]
    Randomness(#[source] getrandom::Error),
    /// A row holds what this release cannot have written.
    #[error("the database holds an unexpected {column}; was it written by a newer release?")]
    UnexpectedValue { column: &'static str },
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Query(error)
    }
}

/// What went wrong, without the details that hold what was to be written.
fn without_details(error: &tokio_postgres::Error) -> String {
    let Some(refusal) = error.as_db_error() else {
        let cause = std::error::Error::source(error);
        return cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
    };
    let place = refusal.constraint().or(refusal.table()).map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{}: {}{place}", refusal.code().code(), refusal.message())
}

impl StoreError {
    /// Whether the fault lies in what was to be written, so that the same rows will be refused again. Everything else
    /// is the server's state (away, starting, read-only, tables missing, a deadlock): the same call may well succeed
    /// later, unchanged.
    pub fn is_content_refused(&self) -> bool {
        // Without a server's code either the connection failed or a value could not be encoded.
        self.of_statement()
            .is_some_and(|error| error.code().map_or_else(|| !is_connection_error(error), blames_content))
    }

    /// What is wrong in a few words that name no host, user, database or table: for whoever is no operator.
    pub fn in_short(&self) -> &'static str {
        match self {
            Self::Authorities(_) | Self::SharedSessions => "its settings are not usable",
            Self::Untrusted(_) => "its certificate is not trusted",
            Self::Connect(PoolError::Timeout(_)) => "no connection in time",
            Self::Connect(PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error))) => {
                in_short(error)
            }
            Self::Connect(_) => "cannot be reached",
            Self::Query(error) => in_short(error),
            Self::Randomness(_) => "no random numbers",
            Self::UnexpectedValue { .. } => "it holds an unexpected value",
        }
    }

    /// Whether the server ended a statement before its time: it is slow just now, or somebody told it to, or what was
    /// asked is too much at once. Smaller parts tell which.
    pub fn is_cut_short(&self) -> bool {
        self.of_statement().is_some_and(|error| error.code() == Some(&SqlState::QUERY_CANCELED))
    }

    /// Whether the role lacks a right. It lacks it the next time as well, until somebody grants it.
    pub fn is_forbidden(&self) -> bool {
        self.of_statement().is_some_and(|error| error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE))
    }

    /// The driver's error, if a statement was sent.
    fn of_statement(&self) -> Option<&tokio_postgres::Error> {
        match self {
            Self::Query(error) => Some(error),
            Self::Connect(_)
            | Self::Untrusted(_)
            | Self::Authorities(_)
            | Self::Randomness(_)
            | Self::SharedSessions
            | Self::UnexpectedValue { .. } => None,
        }
    }
}

fn is_connection_error(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

/// The kind of a driver's error, by what a person would do about it.
fn in_short(error: &tokio_postgres::Error) -> &'static str {
    let Some(state) = error.code() else { return "cannot be reached" };
    match state.code() {
        "3D000" => "the database does not exist",
        "42501" => "permission denied",
        "53300" => "too many connections",
        "57P01" | "57P02" | "57P03" => "starting up or shutting down",
        code if code.starts_with("28") => "login refused",
        code if code.starts_with("08") => "cannot be reached",
        _ => "it refused a query",
    }
}

fn blames_content(state: &SqlState) -> bool {
    /// By class: data exceptions, violated constraints, limits of the program, raised exceptions, internal errors.
    const CONTENT_CLASSES: [&str; 5] = ["22", "23", "54", "P0", "XX"];
    let class = state.code().get(..2).unwrap_or_default();
    CONTENT_CLASSES.contains(&class)
}
