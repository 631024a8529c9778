//! TLS to the servers, with private authorities: servers that speak it are believed with the right authority and name,
//! and refused, in words that help, with any other. Nothing is ever said in the clear instead.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use loyalty_local::{Durability, Servers};
use loyalty_tests::program::Ended;
use loyalty_tests::{Program, scratch};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_postgres::NoTls;

#[tokio::test]
async fn servers_with_tls_are_believed_with_their_authority_and_their_name_only() {
    let house = House::start().await;
    let plain = house.run(&["migrate"], "localhost", &house.ca).await;
    refused(&plain, "server does not support TLS");
    house.switch_on_tls().await;

    for command in ["migrate", "topology"] {
        let other = house.run(&[command], "localhost", &house.other_ca).await;
        refused(&other, "the server's certificate is not trusted");
        refused(&other, &format!("expected one for the host of {}", house.shown(command)));
        refused(&other, &format!("or of {}", house.other_ca.display()));
        refused(&house.run(&[command], "localhost", Path::new("")).await, "its authority is not known here");
        refused(&house.run(&[command], "127.0.0.1", &house.ca).await, "not valid for name");
        let right = house.run(&[command], "localhost", &house.ca).await;
        assert_eq!(right.code, Some(0), "{}", right.log);
    }
    let nowhere = house.run(&["migrate"], "localhost", Path::new("nowhere.pem")).await;
    assert_eq!(nowhere.code, Some(2), "{}", nowhere.log);
    assert!(nowhere.log.contains("could not read the certificates of nowhere.pem"), "{}", nowhere.log);

    let worker = house.spawn(&["worker"], "localhost", &house.ca).await;
    let enrolled = house.run(&["publish", "enroll", "ann", "--wait", "30s"], "localhost", &house.ca).await;
    assert_eq!(enrolled.code, Some(0), "{}", enrolled.log);
    assert!(house.all_sessions_use_tls().await);
    worker.terminate().await;
    house.servers.stop().await;
}

fn refused(ended: &Ended, why: &str) {
    assert_eq!(ended.code, Some(3), "{}", ended.log);
    assert!(ended.log.contains(why), "{why:?} is not in {}", ended.log);
    assert!(!ended.log.contains(":loyalty@"), "{}", ended.log);
}

/// Servers of their own, and two authorities, one of which signed for them.
struct House {
    dir: PathBuf,
    servers: Servers,
    amqps_port: u16,
    ca: PathBuf,
    other_ca: PathBuf,
    /// Logs get a name each.
    runs: AtomicUsize,
}

impl House {
    async fn start() -> Self {
        let dir = scratch("tls");
        let servers = Servers::start(&dir, Durability::Throwaway).await.expect("private servers");
        let amqps_port = free_port();
        let ca = authority(&dir, "ours", Some("localhost"));
        let other_ca = authority(&dir, "another", None);
        Self { dir, servers, amqps_port, ca, other_ca, runs: AtomicUsize::new(0) }
    }

    async fn switch_on_tls(&self) {
        self.postgres_speaks_tls().await;
        let conf = self.dir.join("rabbitmq/rabbitmq.conf");
        let text = std::fs::read_to_string(&conf).expect("its configuration");
        let (port, dir) = (self.amqps_port, self.dir.display());
        let text = format!(
            "{text}listeners.ssl.local = 127.0.0.1:{port}\nssl_options.certfile = {dir}/server.pem\nssl_options.keyfile = {dir}/server.key\n"
        );
        std::fs::write(&conf, text).expect("ours to write");
        self.servers.rabbitmq.restart().await.expect("it starts again");
    }

    /// The server writes the files itself: it may be another user, and takes a key only from its own.
    async fn postgres_speaks_tls(&self) {
        let client = self.client().await;
        for name in ["server.pem", "server.key"] {
            let text = std::fs::read_to_string(self.dir.join(name)).expect("a file of ours");
            let write = format!(
                "copy (select unnest(string_to_array('{}', e'\\n'))) to program 'umask 077; cat > {name}'",
                text.trim_end()
            );
            client.batch_execute(&write).await.expect("it writes files");
        }
        for setting in ["ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'", "ssl = on"] {
            client.batch_execute(&format!("alter system set {setting}")).await.expect("a setting");
        }
        drop(client);
        self.servers.postgres.restart().await.expect("it starts again");
    }

    async fn all_sessions_use_tls(&self) -> bool {
        let query = "select coalesce(bool_and(ssl), false) from pg_stat_ssl join pg_stat_activity using (pid)
                     where application_name = 'loyalty'";
        self.client().await.query_one(query, &[]).await.expect("statistics").get(0)
    }

    /// A session that is not ours to judge.
    async fn client(&self) -> tokio_postgres::Client {
        let url = self.servers.postgres.url("postgres");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a session");
        tokio::spawn(async move { drop(connection.await) });
        client
    }

    /// Where the server that a command asks first is, as errors may show it.
    fn shown(&self, command: &str) -> String {
        match command {
            "migrate" => format!("postgres://loyalty:***@localhost:{}/postgres", self.servers.postgres.port()),
            _ => format!("amqps://loyalty:***@localhost:{}/%2F", self.amqps_port),
        }
    }

    async fn run(&self, args: &[&str], host: &str, ca: &Path) -> Ended {
        self.spawn(args, host, ca).await.end().await
    }

    async fn spawn(&self, args: &[&str], host: &str, ca: &Path) -> Program {
        let at = format!("@{host}:");
        let database = self.servers.postgres.url("postgres").replace("@127.0.0.1:", &at) + "?sslmode=verify-full";
        let plain = format!("@127.0.0.1:{}", self.servers.rabbitmq.port());
        let amqp = self.servers.rabbitmq.url("/").replace(&plain, &format!("{at}{}", self.amqps_port));
        let amqp = amqp.replace("amqp://", "amqps://");
        let ca = ca.display().to_string();
        let servers = ["--amqp-url", &amqp, "--database-url", &database, "--ca-file", &ca];
        let dir = self.dir.join(format!("run{}", self.runs.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&dir).expect("a directory");
        Program::alone(&[args, &servers].concat(), &dir).await
    }
}

/// Makes an authority, and with a `host` the key and certificate of a server of that name. Answers the file to believe.
fn authority(dir: &Path, name: &str, host: Option<&str>) -> PathBuf {
    let write = |file: &str, text: String| std::fs::write(dir.join(file), text).expect("a file");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    let file = format!("{name}.pem");
    write(&file, params.self_signed(&key).expect("a certificate").pem());
    if let Some(host) = host {
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        write("server.pem", server.signed_by(&key, &issuer).expect("a certificate").pem());
        write("server.key", key.serialize_pem());
    }
    dir.join(file)
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
