//! Connections to PostgreSQL, bounded in number and in how long anything may take.

use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, RecyclingMethod, Runtime, Timeouts};
use loyalty_common::secret::SecretUrl;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};

/// How long getting a connection may take, all told. Longer than a database's restart answers refused connections,
/// shorter than anybody waits for an answer.
const GET_TIMEOUT: Duration = Duration::from_secs(5);

/// A statement that runs longer is ended by the server: dropping its future would leave it running. Well under the
/// broker's 30 minutes for an acknowledgement.
const STATEMENT_TIMEOUT: &str = "30s";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Lookups and writes by key only. A plan made while the tables were empty would scan them when they are full
    /// (six times slower, measured), so scans and the joins that need them are switched off.
    Keys,
    /// Anything: searches, sums, checks.
    Queries,
}

/// A bounded set of connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    connections: deadpool_postgres::Pool,
}

impl Pool {
    /// A pool of at most `size` connections. Connects when first used, so that it can be made while the server is
    /// away.
    pub fn new(url: &SecretUrl, uses: Use, size: usize) -> Result<Self, StoreError> {
        let mut config: Config = url.expose().parse().map_err(StoreError::Url)?;
        config.application_name("loyalty");
        config.connect_timeout(GET_TIMEOUT);
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let connections = deadpool_postgres::Pool::builder(Manager::from_config(config, NoTls, manager))
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(GET_TIMEOUT), create: Some(GET_TIMEOUT), recycle: Some(GET_TIMEOUT) })
            .post_create(prepared_for(uses))
            .build()
            .expect("a runtime is given, which is all that building asks for");
        Ok(Self { connections })
    }

    /// A connection, for as long as the caller holds it.
    pub async fn get(&self) -> Result<Object, StoreError> {
        self.connections.get().await.map_err(StoreError::Connect)
    }

    /// Whether the server answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.get().await?.batch_execute("").await.map_err(StoreError::Query)
    }
}

/// Settings by statement rather than in the connection's options, which poolers between us and the server drop.
fn prepared_for(uses: Use) -> Hook {
    let by_key = match uses {
        Use::Keys => "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off;",
        Use::Queries => "",
    };
    let settings = format!("set statement_timeout = '{STATEMENT_TIMEOUT}'; set timezone = 'UTC'; {by_key}");
    Hook::async_fn(move |client, _| {
        let settings = settings.clone();
        Box::pin(async move { client.batch_execute(&settings).await.map_err(HookError::Backend) })
    })
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address of the database is not one.
    #[error("the database URL is not valid")]
    Url(#[source] tokio_postgres::Error),
    /// There was no connection to be had.
    #[error("could not connect to PostgreSQL")]
    Connect(#[source] deadpool_postgres::PoolError),
    /// The server refused a statement, or was lost while it ran.
    #[error("PostgreSQL refused or lost a statement")]
    Query(#[from] tokio_postgres::Error),
    /// A row holds what this release cannot have written.
    #[error("the database holds an unexpected {column}; was it written by a newer release?")]
    Foreign {
        /// Where.
        column: &'static str,
    },
}

impl StoreError {
    /// Whether the same call may well succeed later, unchanged: the server is away, shutting down or overloaded, or
    /// another transaction stood in the way. Everything else is the fault of what was asked.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Url(_) | Self::Foreign { .. } => false,
            // Without a server's code the connection itself failed.
            Self::Query(error) => error.code().map_or_else(|| is_connection_error(error), is_passing_state),
        }
    }
}

/// An error without a code is the connection's, except where the client could not encode or decode a value.
fn is_connection_error(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || std::error::Error::source(error).is_some_and(|cause| cause.is::<std::io::Error>())
}

fn is_passing_state(state: &SqlState) -> bool {
    /// By class: connection exceptions, lack of resources, operator intervention (shutdown, crash, start-up),
    /// system errors, serialization failures and deadlocks.
    const PASSING_CLASSES: [&str; 5] = ["08", "53", "57", "58", "40"];
    // A statement over its time limit (57014) is also what one monstrous command causes; splitting finds it, and a
    // slow server is met again by the halves.
    let class = state.code().get(..2).unwrap_or_default();
    *state == SqlState::LOCK_NOT_AVAILABLE || (PASSING_CLASSES.contains(&class) && *state != SqlState::QUERY_CANCELED)
}
