//! The servers that worlds stand on: the private ones that all tests share, or those that `LOYALTY_TEST_AMQP_URL` and
//! `LOYALTY_TEST_DATABASE_URL` name, or one of a test's own, which it may restart.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use loyalty_local::{Durability, Postgres, RabbitMq};
use loyalty_store::Pool;
use loyalty_store::pool::PlannerProfile;
use loyalty_testkit::{servers, template};

use crate::accounts::{self, Account};
use crate::endpoint::Endpoint;
use crate::http;

/// Where the management API of a given broker listens, if not at the usual port of the same host.
const MANAGEMENT_URL: &str = "LOYALTY_TEST_MANAGEMENT_URL";

/// The usual port of the management API.
const MANAGEMENT_PORT: u16 = 15672;

/// A database server.
pub(crate) enum Database {
    /// Private, of all worlds.
    Shared(Arc<Postgres>),
    /// Private, of one world. What it commits is on disk, so that it may be killed.
    Own(Postgres),
    /// Somebody else's.
    Given(Endpoint),
}

pub(crate) enum Broker {
    /// Private, of all worlds.
    Shared(Arc<RabbitMq>),
    /// Private, of one world.
    Own(RabbitMq),
    /// Somebody else's.
    Given(Endpoint),
}

impl Database {
    /// The given server, or the shared one.
    pub(crate) async fn common() -> Self {
        match std::env::var("LOYALTY_TEST_DATABASE_URL") {
            Ok(url) => Self::Given(Endpoint::parse(&url, 5432)),
            Err(_) => Self::Shared(servers::postgres().await),
        }
    }

    /// A server in `dir` that the test may stop and kill.
    pub(crate) async fn own(dir: &Path) -> Self {
        Self::Own(Postgres::start_with(dir, Durability::Durable).await.expect("a PostgreSQL of the test's own"))
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Shared(postgres) => Endpoint::parse(&postgres.url("postgres"), postgres.port()),
            Self::Own(postgres) => Endpoint::parse(&postgres.url("postgres"), postgres.port()),
            Self::Given(endpoint) => endpoint.clone(),
        }
    }

    pub(crate) async fn create(&self, name: &str) {
        match self {
            Self::Shared(postgres) => {
                postgres.copy_database(name, template(postgres).await).await.expect("a database");
            }
            Self::Own(_) | Self::Given(_) => self.execute(&format!("create database {name}")).await,
        }
    }

    /// The server as this part of the product reaches it.
    pub(crate) fn endpoint_of(&self, account: Account) -> Endpoint {
        match self {
            Self::Shared(_) | Self::Own(_) => self.endpoint().with_login(account.login()),
            Self::Given(_) => self.endpoint(),
        }
    }

    /// Gives the parts of the product what they need in a database whose tables are made, and no more.
    pub(crate) async fn grant(&self, pool: &Pool) {
        match self {
            Self::Shared(_) | Self::Own(_) => {
                self.execute(&accounts::make_roles()).await;
                let client = pool.get().await.expect("a connection to the database");
                client.batch_execute(&accounts::grants()).await.expect("roles.sql runs");
            }
            Self::Given(_) => {}
        }
    }

    /// Leaves nothing of a world that is no longer needed.
    pub(crate) async fn leave(&self, name: &str) {
        match self {
            Self::Shared(_) | Self::Given(_) => {
                self.execute(&format!("drop database if exists {name} with (force)")).await;
            }
            Self::Own(postgres) => postgres.kill().await,
        }
    }

    async fn execute(&self, statement: &str) {
        let pool = Pool::new(&self.endpoint().own_url(), PlannerProfile::Queries, 1).expect("the database's URL");
        let client = pool.get().await.expect("a connection to the database");
        client.batch_execute(statement).await.expect(statement);
    }
}

impl Broker {
    /// The given broker, or the shared one.
    pub(crate) async fn common() -> Self {
        match std::env::var("LOYALTY_TEST_AMQP_URL") {
            Ok(url) => Self::Given(Endpoint::parse(&url, 5672)),
            Err(_) => Self::Shared(servers::rabbitmq().await),
        }
    }

    /// A broker in `dir` that the test may stop and kill.
    pub(crate) async fn own(dir: &Path) -> Self {
        Self::Own(RabbitMq::start(dir).await.expect("a RabbitMQ of the test's own"))
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Shared(rabbitmq) => Endpoint::parse(&rabbitmq.url(""), rabbitmq.port()),
            Self::Own(rabbitmq) => Endpoint::parse(&rabbitmq.url(""), rabbitmq.port()),
            Self::Given(endpoint) => endpoint.clone(),
        }
    }

    /// The server as this part of the product reaches it.
    pub(crate) fn endpoint_of(&self, account: Account) -> Endpoint {
        match self {
            Self::Shared(_) | Self::Own(_) => self.endpoint().with_login(account.login()),
            Self::Given(_) => self.endpoint(),
        }
    }

    /// Gives the parts of the product, and who works with it, what they need in a virtual host, and no more.
    async fn grant(&self, vhost: &str) {
        // One at a time: a broker that is told the same user twice at once refuses one of them.
        static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _turn = TURN.lock().await;
        for account in Account::ALL {
            self.manage("PUT", &format!("/api/users/{account}"), Some(&accounts::user())).await;
            self.permit(vhost, account, &account.permissions()).await;
        }
    }

    /// Sets what a part may do in a virtual host.
    pub(crate) async fn permit(&self, vhost: &str, account: Account, permissions: &str) {
        self.manage("PUT", &format!("/api/permissions/{vhost}/{account}"), Some(permissions)).await;
    }

    /// The management API, login included.
    pub(crate) fn management(&self) -> Endpoint {
        let private = |rabbitmq: &RabbitMq| Endpoint::parse(&rabbitmq.management_login_url(), MANAGEMENT_PORT);
        match self {
            Self::Shared(rabbitmq) => private(rabbitmq),
            Self::Own(rabbitmq) => private(rabbitmq),
            Self::Given(endpoint) => {
                let usual = || format!("http://{}:{MANAGEMENT_PORT}", endpoint.host());
                let url = std::env::var(MANAGEMENT_URL).unwrap_or_else(|_| usual());
                Endpoint::parse(&url, MANAGEMENT_PORT).with_login_of(endpoint)
            }
        }
    }

    pub(crate) async fn create(&self, vhost: &str) {
        match self {
            Self::Shared(rabbitmq) => {
                rabbitmq.create_vhost(vhost).await.expect("a virtual host");
                self.grant(vhost).await;
            }
            Self::Own(rabbitmq) => {
                rabbitmq.create_vhost(vhost).await.expect("a virtual host");
                self.grant(vhost).await;
            }
            Self::Given(endpoint) => {
                let (user, _) = endpoint.login();
                let all = r#"{"configure":".*","write":".*","read":".*"}"#;
                self.manage("PUT", &format!("/api/vhosts/{vhost}"), None).await;
                self.manage("PUT", &format!("/api/permissions/{vhost}/{user}"), Some(all)).await;
            }
        }
    }

    /// Leaves nothing of a world that is no longer needed.
    pub(crate) async fn leave(&self, vhost: &str) {
        match self {
            Self::Shared(rabbitmq) => rabbitmq.delete_vhost(vhost).await.expect("no virtual host"),
            Self::Given(_) => {
                self.manage("DELETE", &format!("/api/vhosts/{vhost}"), None).await;
            }
            Self::Own(rabbitmq) => {
                rabbitmq.kill().await;
                rabbitmq.stop().await;
            }
        }
    }

    /// Asks the management API, and answers what it said.
    pub(crate) async fn manage(&self, method: &str, path: &str, body: Option<&str>) -> http::Answer {
        let endpoint = self.management();
        let (user, password) = endpoint.login();
        let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let authorization = format!("Basic {login}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let answer = http::send(endpoint.addr().await, method, path, &headers, body).await;
        assert!((200..300).contains(&answer.status), "{method} {path} at the management API: {}", answer.status);
        answer
    }
}
