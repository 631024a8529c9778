//! What the pool does with a connection whose holder gave up, against a real server.

use std::time::{Duration, Instant};

use loyalty_store::Pool;
use loyalty_store::pool::PlannerProfile;
use loyalty_testkit::Database;

/// A statement that nobody waits the end of.
const LONG: &str = "select pg_sleep(20)";

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_statement_was_given_up_serves_nobody_else() {
    let database = Database::empty("pool").await;
    let pool = Pool::new(&database.url(), PlannerProfile::Keys, 1).expect("a pool");
    let first = session(&pool).await;

    let given_up = tokio::time::timeout(Duration::from_millis(100), async {
        pool.get().await.expect("a connection").query(LONG, &[]).await
    });
    assert!(given_up.await.is_err(), "nobody waited for its end");

    let began = Instant::now();
    assert_ne!(session(&pool).await, first, "it is another connection");
    assert!(began.elapsed() < Duration::from_secs(4), "which waits behind nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_statement_came_to_its_end_is_used_again() {
    let database = Database::empty("pool").await;
    let pool =
        Pool::with_timeout(&database.url(), PlannerProfile::Keys, 1, Duration::from_millis(100)).expect("a pool");
    let first = session(&pool).await;

    let client = pool.get().await.expect("a connection");
    let ended = client.query(LONG, &[]).await.expect_err("the server ends it when nobody waits any more");
    assert_eq!(ended.code().map(tokio_postgres::error::SqlState::code), Some("57014"));
    drop(client);

    assert_eq!(session(&pool).await, first, "an error is an answer, too");
}

/// The server's number of the connection that the pool lends.
async fn session(pool: &Pool) -> i32 {
    pool.get().await.expect("a connection").query_one("select pg_backend_pid()", &[]).await.expect("a row").get(0)
}
