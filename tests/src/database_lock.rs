//! Holding a transaction of the product in the middle, by a lock that it must wait for. What it did before is then
//! done, and what comes after has not begun.

use tokio_postgres::{Client, NoTls};

use crate::world::World;
use loyalty_local::wait::eventually;

/// A lock on the world's database. Dropping it lets everybody go.
#[derive(Debug)]
pub struct DatabaseLock(Client);

impl DatabaseLock {
    /// Lets everybody go, and answers when the lock is released.
    pub async fn release(self) {
        self.0.batch_execute("rollback").await.expect("the lock is released");
    }
}

impl World {
    /// Takes a lock by a statement, such as `lock table ledger in share row exclusive mode`: rows can still be read,
    /// but none written.
    pub async fn lock(&self, statement: &str) -> DatabaseLock {
        let url = self.database_url();
        let (client, connection) = tokio_postgres::connect(url.expose(), NoTls).await.expect("a connection");
        // Its error comes out of the client's calls as well.
        tokio::spawn(async move { drop(connection.await) });
        client.batch_execute(&format!("begin; {statement}")).await.expect(statement);
        DatabaseLock(client)
    }

    /// Waits until so many sessions of this world's database wait for locks.
    pub async fn waiting(&self, sessions: i64) {
        const WAITING: &str = "
            pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and state = 'active'";
        let what = format!("{sessions} sessions wait for a lock");
        eventually(&what, async || (self.count(WAITING).await >= sessions).then_some(())).await;
    }

    /// Ends the sessions that wait for a lock, so that their transactions never happen.
    pub async fn end_waiting_sessions(&self) {
        const END: &str = "
            select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        self.query(END, &[]).await;
    }
}
