//! A database of a test's own, and what any test does with one.

use std::sync::Arc;

use loyalty_local::{Postgres, Proxy};
use loyalty_store::pool::{DatabaseUrl, PlannerProfile, Pool};
use loyalty_store::{Connection, migrate};
use tokio::sync::OnceCell;

use crate::background::tidy;
use crate::{eventually, servers, unique};

/// Connections of a test's pool.
const CONNECTIONS: usize = 8;

/// A database. Dropping it drops it on the server as well, in the background.
#[derive(Debug)]
pub struct Database {
    /// For a test to look and to write.
    pub pool: Pool,
    name: String,
    postgres: Arc<Postgres>,
}

impl Database {
    /// A database with the tables of this release, on the shared server.
    pub async fn start(subject: &str) -> Self {
        let name = unique(subject);
        let postgres = servers::postgres().await;
        postgres.copy_database(&name, template(&postgres).await).await.expect("a database");
        Self::known(postgres, name)
    }

    /// The same without tables.
    pub async fn empty(subject: &str) -> Self {
        let (name, postgres) = (unique(subject), servers::postgres().await);
        postgres.create_database(&name).await.expect("a database");
        Self::known(postgres, name)
    }

    /// A copy of another one, which nobody uses meanwhile.
    pub async fn copy(&self) -> Self {
        let (name, postgres) = (unique("copy"), Arc::clone(&self.postgres));
        postgres.copy_database(&name, &self.name).await.expect("a copy");
        Self::known(postgres, name)
    }

    /// A database with the tables of this release, on a server of the test's own.
    pub async fn on(postgres: Arc<Postgres>, subject: &str) -> Self {
        let name = unique(subject);
        postgres.create_database(&name).await.expect("a database");
        let database = Self::known(postgres, name);
        migrate::migrate(&database.pool).await.expect("the migrations run");
        database
    }

    fn known(postgres: Arc<Postgres>, name: String) -> Self {
        let url = DatabaseUrl::known(postgres.url(&name));
        let pool = Pool::new(&url, PlannerProfile::Queries, CONNECTIONS).expect("the database's URL");
        Self { pool, name, postgres }
    }

    /// Its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    pub fn url(&self) -> DatabaseUrl {
        DatabaseUrl::known(self.postgres.url(&self.name))
    }

    /// Another pool for it.
    pub fn pool_for(&self, uses: PlannerProfile, connections: usize) -> Pool {
        Pool::new(&self.url(), uses, connections).expect("the database's URL")
    }

    /// A pool whose way to the server can be cut, and the proxy that leads it there.
    pub async fn pool_by_proxy(&self) -> (Pool, Proxy) {
        let port = self.postgres.port();
        let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await.expect("a proxy");
        let url = self.url().expose().replace(&format!(":{port}/"), &format!(":{}/", proxy.addr().port()));
        (Pool::new(&DatabaseUrl::known(url), PlannerProfile::Queries, 1).expect("a URL"), proxy)
    }

    /// A connection of the test's own.
    pub async fn connection(&self) -> Connection {
        self.pool.get().await.expect("a connection")
    }

    /// Runs statements behind everybody's back.
    pub async fn execute(&self, sql: &str) {
        self.connection().await.batch_execute(sql).await.expect(sql);
    }

    /// The number that a query answers.
    pub async fn number(&self, sql: &str) -> i64 {
        self.connection().await.query_one(sql, &[]).await.expect(sql).get(0)
    }

    /// Waits until so many sessions wait for others' locks.
    pub async fn waiting_for_locks(&self, sessions: i64) {
        const WAITING: &str =
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        let what = format!("{sessions} sessions wait for a lock");
        eventually(&what, async || (self.number(WAITING).await >= sessions).then_some(())).await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (postgres, name) = (Arc::clone(&self.postgres), self.name.clone());
        // A server of the test's own, which nobody else knows, ends with the test.
        if Arc::strong_count(&postgres) > 2 {
            tidy(async move { drop(postgres.drop_database(&name).await) });
        }
    }
}

/// A database of the shared server with the tables made, of which each test gets a copy: in memory, half of the time
/// that the migrations take.
pub async fn template(postgres: &Postgres) -> &'static str {
    static NAME: OnceCell<String> = OnceCell::const_new();
    let make = async || {
        let name = unique("template");
        postgres.create_database(&name).await.expect("a database");
        // Its one connection ends with the pool: a database that somebody uses cannot be copied.
        let url = DatabaseUrl::known(postgres.url(&name));
        let pool = Pool::new(&url, PlannerProfile::Queries, 1).expect("the database's URL");
        migrate::migrate(&pool).await.expect("the migrations run");
        name
    };
    NAME.get_or_init(make).await
}
