//! Whether a pooler stands before the database that gives the server's sessions to others between transactions.
//!
//! Statements are prepared once and settings made once for each connection, so each needs a session of its own. Two
//! connections, both open: if they meet in one session of the server, or one finds itself in another session than before,
//! sessions are shared.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::SimpleQueryMessage;

use super::{DatabaseUrl, Pool, StoreError, Use};
use crate::connection::Connection;

/// How long the look at the start may take. A database that is away is waited for elsewhere.
const PATIENCE: Duration = Duration::from_secs(2);

/// For the start of a service: an error if the database of that URL is reached through a pooler that shares sessions.
/// One that does not answer in time is not asked again.
pub async fn refuse_shared_sessions(database: &DatabaseUrl) -> Result<(), StoreError> {
    let pool = Pool::new(database, Use::Queries, 2)?;
    match timeout(PATIENCE, Box::pin(pool.refuse_shared_sessions())).await {
        Ok(Err(StoreError::SharedSessions)) => Err(StoreError::SharedSessions),
        Ok(Ok(()) | Err(_)) | Err(_) => Ok(()),
    }
}

impl Pool {
    /// An error if sessions are shared. Takes two connections, of a pool that has two.
    pub async fn refuse_shared_sessions(&self) -> Result<(), StoreError> {
        let first = self.get().await?;
        let Ok(second) = self.get().await else {
            return Ok(()); // A pooler that has one session and keeps it for us; who asks for two will hear of it.
        };
        let is_shared = meets(&first, &second).await;
        // Whatever was begun on it is over.
        drop(deadpool_postgres::Object::take(second.unwatched()));
        if is_shared? { Err(StoreError::SharedSessions) } else { Ok(()) }
    }
}

async fn meets(first: &Connection, second: &Connection) -> Result<bool, StoreError> {
    let before = session(first).await?;
    // Held: what the other is given while this lasts is another session.
    let begun = second.batch_execute("begin").await;
    if let Err(error) = begun {
        let forbidden = error.as_db_error().is_some_and(|refusal| refusal.message().contains("statement pooling"));
        return if forbidden { Ok(true) } else { Err(error.into()) };
    }
    let held = session(second).await?;
    let is_shared = held == before || session(first).await? != before;
    second.batch_execute("commit").await?;
    Ok(is_shared)
}

/// The server's number of the session, asked without a prepared statement.
async fn session(client: &Connection) -> Result<Option<String>, StoreError> {
    let said = client.simple_query("select pg_backend_pid()").await?;
    Ok(said.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
