//! The private servers: those that tests share, those that they take in turn, and those of one test.
//!
//! Shared ones are never stopped by a test. They are this process's own, or those of the whole run, if whoever runs the
//! tests started some and named their directory: `with-servers` does. All of them end with who started them.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use loyalty_local::{Durability, Postgres, RabbitMq};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::scratch;

/// Names the directory of the servers of the whole run.
pub const SERVERS: &str = "LOYALTY_TEST_SERVERS";

/// The database server that all tests share.
pub async fn postgres() -> Arc<Postgres> {
    static SHARED: OnceCell<Arc<Postgres>> = OnceCell::const_new();
    let start = async || match of_the_run() {
        Some(dir) => Arc::new(Postgres::attach(&dir).expect("the run's PostgreSQL")),
        None => own_postgres("shared", Durability::Throwaway).await,
    };
    Arc::clone(SHARED.get_or_init(start).await)
}

/// The broker that all tests share.
pub async fn rabbitmq() -> Arc<RabbitMq> {
    static SHARED: OnceCell<Arc<RabbitMq>> = OnceCell::const_new();
    let start = async || match of_the_run() {
        Some(dir) => Arc::new(RabbitMq::attach(&dir).expect("the run's RabbitMQ")),
        None => own_rabbitmq("shared").await,
    };
    Arc::clone(SHARED.get_or_init(start).await)
}

/// A database server of a test's own. Costs two seconds.
pub async fn own_postgres(name: &str, durability: Durability) -> Arc<Postgres> {
    Arc::new(Postgres::start_with(&scratch::dir(name), durability).await.expect("PostgreSQL starts"))
}

/// A broker of a test's own. Costs ten seconds.
pub async fn own_rabbitmq(name: &str) -> Arc<RabbitMq> {
    Arc::new(RabbitMq::start(&scratch::dir(name)).await.expect("RabbitMQ starts"))
}

/// A server that one test at a time has, to stop it, kill it or starve it.
#[derive(Debug)]
pub struct InTurn<T: 'static> {
    server: Arc<T>,
    _turn: MutexGuard<'static, ()>,
}

impl<T> Deref for InTurn<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.server
    }
}

/// The database server for tests that harm it, running whatever the one before did.
pub async fn postgres_in_turn() -> InTurn<Postgres> {
    static TURN: Mutex<()> = Mutex::const_new(());
    static SERVER: OnceCell<Arc<Postgres>> = OnceCell::const_new();
    let turn = TURN.lock().await;
    let server = Arc::clone(SERVER.get_or_init(|| own_postgres("in-turn", Durability::Throwaway)).await);
    server.start_again().await.expect("it runs again");
    InTurn { server, _turn: turn }
}

/// The broker for tests that harm it, running and taking messages whatever the one before did.
pub async fn rabbitmq_in_turn() -> InTurn<RabbitMq> {
    static TURN: Mutex<()> = Mutex::const_new(());
    static SERVER: OnceCell<Arc<RabbitMq>> = OnceCell::const_new();
    let turn = TURN.lock().await;
    let server = Arc::clone(SERVER.get_or_init(|| own_rabbitmq("in-turn")).await);
    server.start_again().await.expect("it runs again");
    server.set_memory_alarm(false).await.expect("it takes messages again");
    InTurn { server, _turn: turn }
}

fn of_the_run() -> Option<PathBuf> {
    std::env::var_os(SERVERS).map(PathBuf::from)
}
