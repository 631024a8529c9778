//! The real PgBouncer before a real server.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use loyalty_local::wait::eventually;
use loyalty_local::{Durability, Postgres};
use loyalty_store::pool::{DatabaseUrl, Use};
use loyalty_store::{Pool, StoreError};
use tokio::process::{Child, Command};

const PROGRAM: &str = "/usr/sbin/pgbouncer";

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_is_refused_and_one_that_does_not_is_not() {
    if !Path::new(PROGRAM).exists() {
        eprintln!("SKIPPED: {PROGRAM} is not there; install the package pgbouncer");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let postgres = Postgres::start_with(dir.path(), Durability::Throwaway).await.expect("PostgreSQL starts");
    postgres.create_database("loyalty").await.expect("a database");
    let direct = Pool::new(&DatabaseUrl::known(postgres.url("loyalty")), Use::Keys, 2).expect("a URL");
    direct.refuse_shared_sessions().await.expect("nobody stands between");
    for (mode, sessions, taken) in
        [("session", 5, true), ("transaction", 1, false), ("transaction", 5, false), ("statement", 5, false)]
    {
        let (_bouncer, url) = bouncer(&postgres.url("loyalty"), mode, sessions).await;
        let pool = Pool::new(&url, Use::Keys, 2).expect("a URL");
        for _ in 0..3 {
            match pool.refuse_shared_sessions().await {
                Ok(()) => assert!(taken, "{mode} {sessions}"),
                Err(StoreError::SharedSessions) => assert!(!taken, "{mode} {sessions}"),
                Err(error) => panic!("{mode} {sessions}: {error:?}"),
            }
        }
    }
}

/// A pooler until the child is dropped, and the URL by which it is reached.
async fn bouncer(server: &str, mode: &str, sessions: u8) -> (Child, DatabaseUrl) {
    let dir = tempfile::tempdir().expect("a directory").keep();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
    let (user, rest) = server.strip_prefix("postgres://").and_then(|it| it.split_once(':')).expect("a user");
    let (password, rest) = rest.split_once('@').expect("a password");
    let (host, database) = rest.split_once('/').expect("a database");
    let server_port = host.rsplit_once(':').expect("a port").1;
    let mut ini = format!(
        "[databases]\n{database} = host=127.0.0.1 port={server_port} user={user} password={password}\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n\
         default_pool_size = {sessions}\n"
    );
    // It does not run as root.
    if is_root() {
        writeln!(ini, "user = nobody").expect("a text takes anything");
    }
    let path = dir.join("pgbouncer.ini");
    std::fs::write(&path, ini).expect("a file");
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("rights");
    let child = Command::new(PROGRAM).arg(&path).stderr(Stdio::null()).kill_on_drop(true).spawn().expect("it starts");
    let answers = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop);
    eventually("the pooler listens", answers).await;
    (child, DatabaseUrl::known(format!("postgres://{user}@127.0.0.1:{port}/{database}")))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
}
