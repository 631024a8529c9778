//! The servers that `loyalty dev` works with, made ready: private ones, or those that the environment names.

use std::future::pending;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use loyalty_common::secret::SecretUrl;
use loyalty_local::{Durability, Mailbox, Servers};
use loyalty_store::pool::{DatabaseUrl, PlannerProfile};
use loyalty_store::{Pool, migrate};
use loyalty_worker::mail::SmtpUrl;

use crate::exit::Usage;
use crate::http_client::HttpUrl;
use crate::settings::Settings;
use crate::settings::config::Config;
use crate::topology;

/// The name of the database and of the virtual host on private servers.
const NAME: &str = "loyalty";

/// Servers that are up, with tables and queues.
pub(super) struct Environment {
    pub(super) amqp: SecretUrl,
    /// RabbitMQ's management API, if it is known.
    pub(super) management: Option<HttpUrl>,
    pub(super) database: DatabaseUrl,
    /// None, until the emails are seen to.
    pub(super) smtp: Option<SmtpUrl>,
    /// Where everything is, for people.
    pub(super) places: Vec<(&'static str, String)>,
    /// Where the private servers write their logs.
    logs: PathBuf,
    servers: Option<Servers>,
    /// Its port closes when it is dropped.
    mailbox: Option<Mailbox>,
}

impl Environment {
    pub(super) async fn open(settings: &Settings, config: &Config) -> anyhow::Result<Self> {
        let data = settings.data();
        let mut environment = match (settings.given_amqp()?, settings.given_database()?) {
            (None, None) => Self::private(data).await?,
            (Some(amqp), Some(database)) => Self::given(amqp, settings.given_management()?, database),
            (Some(_), None) | (None, Some(_)) => {
                let problem = "give both LOYALTY_AMQP_URL and LOYALTY_DATABASE_URL, or neither for private servers";
                return Err(Usage(problem.to_owned()).into());
            }
        };
        let pool = Pool::new(&environment.database, PlannerProfile::Queries, 1)?;
        migrate::migrate(&pool).await?;
        topology::declare(&environment.amqp, &config.topology()).await?;
        environment.take_emails(data, settings, config).await?;
        Ok(environment)
    }

    async fn private(data: &Path) -> anyhow::Result<Self> {
        let servers = Servers::start(data, Durability::Durable).await?;
        servers.postgres.ensure_database(NAME).await?;
        servers.rabbitmq.create_vhost(NAME).await?;
        let (amqp, database) = (servers.rabbitmq.url(NAME), servers.postgres.url(NAME));
        let management = Some(SecretUrl::known(servers.rabbitmq.management_login_url()));
        let mut environment = Self::given(SecretUrl::known(amqp), management, SecretUrl::known(database));
        let management = format!("{} (user {})", servers.rabbitmq.management_url(), servers.rabbitmq.user());
        environment.places.push(("management", management));
        environment.logs = data.join("log");
        environment.places.push(("logs", environment.logs.display().to_string()));
        environment.servers = Some(servers);
        Ok(environment)
    }

    fn given(amqp: SecretUrl, management: Option<HttpUrl>, database: DatabaseUrl) -> Self {
        let places = vec![("PostgreSQL", database.to_string()), ("RabbitMQ", amqp.to_string())];
        let (smtp, logs) = (None, PathBuf::new());
        Self { amqp, management, database, smtp, places, logs, servers: None, mailbox: None }
    }

    /// The mail server that somebody named, or else a mailbox of our own.
    async fn take_emails(&mut self, data: &Path, settings: &Settings, config: &Config) -> anyhow::Result<()> {
        if let Some(smtp) =
            settings.given_smtp()?.or_else(|| config.mail.smtp.clone().map(|url| settings.trusting(url)))
        {
            self.places.push(("emails", smtp.to_string()));
            self.smtp = Some(smtp);
            return Ok(());
        }
        let emails = data.join("mail");
        let mailbox = Mailbox::start(Some(&emails)).await.context("could not start the mailbox")?;
        self.smtp = Some(SmtpUrl::known(mailbox.url()));
        self.places.push(("emails", emails.join("*.eml").display().to_string()));
        self.mailbox = Some(mailbox);
        Ok(())
    }

    /// Resolves when a private server has ended by itself, and says which.
    pub(super) async fn ended(&self) -> anyhow::Error {
        match &self.servers {
            Some(servers) => {
                let (server, logs) = (servers.ended().await, self.logs.display());
                anyhow!("{server} has ended by itself; its log is in {logs}")
            }
            None => pending().await,
        }
    }

    /// Stops what is ours and waits until it has ended.
    pub(super) async fn close(self) {
        drop(self.mailbox);
        if let Some(servers) = &self.servers {
            servers.stop().await;
        }
    }
}
