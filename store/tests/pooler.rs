//! The real PgBouncer before a real server.

use std::net::SocketAddr;

use loyalty_local::{PgBouncer, PgBouncerError, PoolMode};
use loyalty_store::pool::{DatabaseUrl, PlannerProfile, Sessions, look_for_shared_sessions};
use loyalty_store::{Pool, StoreError};
use loyalty_testkit::{Database, scratch};

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_is_refused_and_one_that_does_not_is_not() {
    let database = Database::empty("pooler").await;
    let direct = database.url().expose().to_owned();
    let dir = scratch::dir(database.name());
    assert!(matches!(look_for_shared_sessions(&DatabaseUrl::known(direct.clone())).await, Ok(Sessions::Own)));
    for (mode, sessions, taken) in [
        (PoolMode::Session, 5, true),
        (PoolMode::Session, 1, true),
        (PoolMode::Transaction, 1, false),
        (PoolMode::Transaction, 5, false),
        (PoolMode::Statement, 5, false),
    ] {
        let (login, _) = parts(&direct);
        let server = SocketAddr::from(([127, 0, 0, 1], database.postgres().port()));
        let bouncer = match PgBouncer::start(&dir, server, &[login], mode, sessions).await {
            Ok(bouncer) => bouncer,
            Err(PgBouncerError::Missing(missing)) => return eprintln!("SKIPPED: {missing}"),
            Err(error) => panic!("{error}"),
        };
        let url = through(&direct, &bouncer);
        for _ in 0..3 {
            match look_for_shared_sessions(&url).await {
                Ok(Sessions::Own) => assert!(taken && sessions > 1, "{mode:?} {sessions}"),
                // Nobody knows of a second connection that is not to be had.
                Ok(Sessions::Unknown) => assert!(taken && sessions == 1, "{mode:?} {sessions}"),
                Err(StoreError::SharedSessions) => assert!(!taken, "{mode:?} {sessions}"),
                Err(other) => panic!("{mode:?} {sessions}: {other:?}"),
            }
        }
        bouncer.stop().await;
        assert!(matches!(look_for_shared_sessions(&url).await, Ok(Sessions::Unknown)), "{mode:?} {sessions}");
        // A command has one pool, and its look leaves it as it was.
        bouncer.start_again().await.expect("the pooler starts again");
        let pool = Pool::with_own_sessions(&url, PlannerProfile::Keys, 2).await;
        assert_eq!(pool.is_ok(), taken, "{mode:?} {sessions}");
        if let Ok(pool) = pool {
            pool.ping().await.expect("a connection that is left");
        }
        bouncer.stop().await;
    }
}

/// Somebody else has the session that a connection has just left while the other asks for one, and leaves it again.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_between_hides_no_sharing() {
    let database = Database::empty("pooler_busy").await;
    let direct = database.url().expose().to_owned();
    let (login, _) = parts(&direct);
    let server = SocketAddr::from(([127, 0, 0, 1], database.postgres().port()));
    let dir = scratch::dir(database.name());
    let bouncer = match PgBouncer::start(&dir, server, &[login], PoolMode::Transaction, 2).await {
        Ok(bouncer) => bouncer,
        Err(PgBouncerError::Missing(missing)) => return eprintln!("SKIPPED: {missing}"),
        Err(error) => panic!("{error}"),
    };
    let url = through(&direct, &bouncer);
    let other = Pool::new(&url, PlannerProfile::Queries, 1).expect("a pool");
    let busy = tokio::spawn(async move {
        let client = other.get().await.expect("a connection");
        loop {
            client.batch_execute("select pg_sleep(0.001)").await.expect("an answer");
        }
    });
    for _ in 0..20 {
        let found = look_for_shared_sessions(&url).await;
        assert!(matches!(found, Err(StoreError::SharedSessions)), "{found:?}");
    }
    busy.abort();
    bouncer.stop().await;
}

/// The login and what follows it.
fn parts(url: &str) -> ((&str, &str), &str) {
    let (login, rest) = url.strip_prefix("postgres://").and_then(|it| it.split_once('@')).expect("a login");
    (login.split_once(':').expect("a password"), rest)
}

fn through(url: &str, bouncer: &PgBouncer) -> DatabaseUrl {
    let ((role, password), rest) = parts(url);
    let (_, database) = rest.split_once('/').expect("a database");
    DatabaseUrl::known(format!("postgres://{role}:{password}@{}/{database}", bouncer.addr()))
}
