//! Whether a pooler stands before the database that gives the server's sessions to others between transactions.
//!
//! Statements are prepared once and settings made once for each connection, so each needs a session of its own. Two
//! connections, both open: if they meet in one session of the server, or one finds itself in another session than
//! before, sessions are shared. Others' statements may keep them apart, so they look more than once.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::SimpleQueryMessage;

use super::{DatabaseUrl, PlannerProfile, Pool, StoreError};
use crate::connection::Connection;

/// How long each step of the look may take. A database that is away is waited for elsewhere.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks at a database that was away: soon after it is back, and no burden while it is not.
const AGAIN: Duration = Duration::from_secs(5);

/// How often the two connections look where they are.
const ROUNDS: usize = 20;

/// What a look found, if not that sessions are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// Each connection has one of its own, as far as can be seen.
    Own,
    /// The database does not answer, or not to two connections at once.
    Unknown,
}

/// Looks once, for the start of a service: an error if the database of that URL is reached through a pooler that shares
/// sessions.
pub async fn look_for_shared_sessions(database: &DatabaseUrl) -> Result<Sessions, StoreError> {
    let pool = Pool::new(database, PlannerProfile::Queries, 2)?;
    Box::pin(pool.look_for_shared_sessions()).await
}

/// For a service that runs while the database may be away: ends, with the error, once a database that was not seen at
/// the start is seen to be behind such a pooler; never, if it is not.
pub async fn shared_sessions_later(database: &DatabaseUrl, seen: Sessions) -> StoreError {
    let mut seen = seen;
    while seen == Sessions::Unknown {
        sleep(AGAIN).await;
        match look_for_shared_sessions(database).await {
            Ok(sessions) => seen = sessions,
            Err(error) => return error,
        }
    }
    std::future::pending().await
}

impl Pool {
    /// As [`new`](Self::new), for a command, which begins at once: an error if sessions are shared. Has two connections
    /// at least, which the look takes. A database that is away is told of by what is asked first.
    pub async fn with_own_sessions(url: &DatabaseUrl, uses: PlannerProfile, size: usize) -> Result<Self, StoreError> {
        let pool = Self::new(url, uses, size.max(2))?;
        Box::pin(pool.look_for_shared_sessions()).await?;
        Ok(pool)
    }

    async fn look_for_shared_sessions(&self) -> Result<Sessions, StoreError> {
        let Ok(Ok(first)) = timeout(PATIENCE, self.get()).await else { return Ok(Sessions::Unknown) };
        // None in time: whoever is there has but one session for us, or is only busy, as after its start.
        let Ok(Ok(second)) = timeout(PATIENCE, self.get()).await else { return Ok(Sessions::Unknown) };
        let meeting = timeout(PATIENCE, meet(&first, &second)).await;
        if !matches!(meeting, Ok(Ok(false))) {
            // Whatever was begun on them is over.
            for connection in [first, second] {
                drop(deadpool_postgres::Object::take(connection.unwatched()));
            }
        }
        match meeting {
            Ok(Ok(true)) => Err(StoreError::SharedSessions),
            Ok(Ok(false)) => Ok(Sessions::Own),
            Ok(Err(_)) | Err(_) => Ok(Sessions::Unknown),
        }
    }
}

async fn meet(first: &Connection, second: &Connection) -> Result<bool, StoreError> {
    for _ in 0..ROUNDS {
        if meet_once(first, second).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn meet_once(first: &Connection, second: &Connection) -> Result<bool, StoreError> {
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
