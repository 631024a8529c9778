//! Where the servers are and what the programme is: from the flags, else the environment, else what a running
//! `loyalty dev` left, else a clear error. A password must never show in help, errors or logs.

use std::io;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use loyalty_common::secret::{Endpoint, SecretUrl, UrlError};
use loyalty_store::pool::DatabaseUrl;
use loyalty_worker::mail::SmtpUrl;

pub(crate) mod config;
#[cfg(test)]
mod documented;
pub(crate) mod running_dev;
mod unparsed_url;

use crate::http_client::HttpUrl;
use config::Config;
use running_dev::RunningDev;
use unparsed_url::UnparsedUrl;

/// The flags of every command that needs servers or the programme.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Servers and settings")]
pub(crate) struct Settings {
    /// RabbitMQ, such as amqp://user:password@host:5672/vhost. Better given by the environment, where `ps` does not
    /// show it
    #[arg(long, global = true, value_name = "URL", env = "LOYALTY_AMQP_URL", hide_env_values = true)]
    #[arg(hide_short_help = true)]
    amqp_url: Option<UnparsedUrl>,
    /// RabbitMQ's management API, such as http://user:password@host:15672; `topology` looks at more with it
    #[arg(long, global = true, value_name = "URL", env = "LOYALTY_MANAGEMENT_URL", hide_env_values = true)]
    #[arg(hide_short_help = true)]
    management_url: Option<UnparsedUrl>,
    /// PostgreSQL, such as postgres://user:password@host/database
    #[arg(long, global = true, value_name = "URL", env = "LOYALTY_DATABASE_URL", hide_env_values = true)]
    #[arg(hide_short_help = true)]
    database_url: Option<UnparsedUrl>,
    /// The mail server, such as smtps://user:password@host or smtp://host:25
    #[arg(long, global = true, value_name = "URL", env = "LOYALTY_SMTP_URL", hide_env_values = true)]
    #[arg(hide_short_help = true)]
    smtp_url: Option<UnparsedUrl>,
    /// Additional trusted CA certificates (PEM), for amqps, sslmode, smtps and https
    #[arg(long, global = true, value_name = "FILE", env = "LOYALTY_CA_FILE", hide_short_help = true)]
    #[arg(value_parser = path())]
    ca_file: Option<PathBuf>,
    /// The programme; without it ./loyalty.toml, if there is one, else the defaults
    #[arg(long, global = true, value_name = "FILE", env = "LOYALTY_CONFIG", hide_short_help = true)]
    #[arg(value_parser = path())]
    config: Option<PathBuf>,
    /// The directory of `loyalty dev`; the other commands look for .loyalty here and in the directories above
    #[arg(long, global = true, value_name = "DIR", env = "LOYALTY_DATA", hide_short_help = true)]
    #[arg(value_parser = path())]
    data: Option<PathBuf>,
}

impl Settings {
    /// Whether every URL that is given can be used. Asked before a command begins: who mistyped one hears of it at
    /// once, and not when half of the work is done.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        self.given_amqp()?;
        self.given_management()?;
        self.given_database()?;
        self.given_smtp()?;
        Ok(())
    }

    /// Where RabbitMQ is.
    pub(crate) fn amqp(&self) -> Result<SecretUrl, SettingsError> {
        let left = |running: RunningDev| Some(running.amqp_url);
        self.given_or_left(self.given_amqp()?, left, &AMQP)?.ok_or(AMQP.not_given())
    }

    /// Where RabbitMQ's management API is, if anything says so. That of a `loyalty dev` is of use only with its broker.
    pub(crate) fn management(&self) -> Result<Option<HttpUrl>, SettingsError> {
        match (self.given_management()?, self.given_amqp()?) {
            (Some(given), _) => Ok(Some(given)),
            (None, Some(_)) => Ok(None),
            (None, None) => self.given_or_left(None, |running| running.management_url, &MANAGEMENT),
        }
    }

    /// Where PostgreSQL is.
    pub(crate) fn database(&self) -> Result<DatabaseUrl, SettingsError> {
        let left = |running: RunningDev| Some(running.database_url);
        self.given_or_left(self.given_database()?, left, &DATABASE)?.ok_or(DATABASE.not_given())
    }

    /// Where the mail server is, if anything says so. The programme's file comes between the environment and what a
    /// `loyalty dev` left.
    pub(crate) fn smtp(&self, config: &Config) -> Result<Option<SmtpUrl>, SettingsError> {
        let given = self.given_smtp()?.or_else(|| config.mail.smtp.clone().map(|url| self.trusting(url)));
        self.given_or_left(given, |running| running.smtp_url, &SMTP)
    }

    /// RabbitMQ as the flags or the environment give it.
    pub(crate) fn given_amqp(&self) -> Result<Option<SecretUrl>, SettingsError> {
        self.given(self.amqp_url.as_ref(), &AMQP)
    }

    /// RabbitMQ's management API as the flags or the environment give it.
    pub(crate) fn given_management(&self) -> Result<Option<HttpUrl>, SettingsError> {
        self.given(self.management_url.as_ref(), &MANAGEMENT)
    }

    /// PostgreSQL as the flags or the environment give it.
    pub(crate) fn given_database(&self) -> Result<Option<DatabaseUrl>, SettingsError> {
        self.given(self.database_url.as_ref(), &DATABASE)
    }

    /// The mail server as the flags or the environment give it.
    pub(crate) fn given_smtp(&self) -> Result<Option<SmtpUrl>, SettingsError> {
        self.given(self.smtp_url.as_ref(), &SMTP)
    }

    /// The directory of `loyalty dev`, as given or by default.
    pub(crate) fn data(&self) -> &Path {
        set(self.data.as_ref()).unwrap_or(Path::new(running_dev::DIRECTORY))
    }

    pub(crate) fn config(&self) -> Result<Config, SettingsError> {
        Config::read(set(self.config.as_ref()))
    }

    /// Whether a file says what the programme is. If none does, it is the default one, and that of the workers may be
    /// another.
    pub(crate) fn has_config(&self) -> bool {
        set(self.config.as_ref()).is_some() || Path::new(config::DEFAULT_FILE).exists()
    }

    /// A variable that is set to nothing, as in an `.env` file that was not filled in, gives nothing.
    fn given<S: Endpoint>(
        &self,
        url: Option<&UnparsedUrl>,
        setting: &UrlSetting,
    ) -> Result<Option<SecretUrl<S>>, SettingsError> {
        let Some(text) = url.map(UnparsedUrl::text).filter(|text| !text.is_empty()) else { return Ok(None) };
        let place = format!("--{} or {}", setting.flag, setting.env);
        self.read(text, &place).map(Some)
    }

    /// The server of a URL that stands in `place`, believed with the private authorities as well.
    pub(crate) fn read<S: Endpoint>(&self, text: &str, place: &str) -> Result<SecretUrl<S>, SettingsError> {
        match SecretUrl::parse(text) {
            Ok(url) => Ok(self.trusting(url)),
            Err(problem) => Err(SettingsError::Url { place: place.to_owned(), problem }),
        }
    }

    /// The server of a URL, believed with the private authorities as well.
    pub(crate) fn trusting<S>(&self, url: SecretUrl<S>) -> SecretUrl<S> {
        url.trusting(set(self.ca_file.as_ref()))
    }

    fn given_or_left<S: Endpoint>(
        &self,
        given: Option<SecretUrl<S>>,
        left: impl FnOnce(RunningDev) -> Option<String>,
        setting: &UrlSetting,
    ) -> Result<Option<SecretUrl<S>>, SettingsError> {
        if given.is_some() {
            return Ok(given);
        }
        let left = self.running()?.and_then(left);
        left.map(|text| self.read(&text, &format!("what `loyalty dev` left of {}", setting.server))).transpose()
    }

    /// What a running `loyalty dev` left: in the directory given, or in the nearest one upwards.
    fn running(&self) -> Result<Option<RunningDev>, SettingsError> {
        if let Some(data) = set(self.data.as_ref()) {
            return RunningDev::read(data);
        }
        let here = std::env::current_dir().map_err(|source| SettingsError::Read { path: ".".into(), source })?;
        for directory in here.ancestors() {
            if let Some(running) = RunningDev::read(&directory.join(running_dev::DIRECTORY))? {
                return Ok(Some(running));
            }
        }
        Ok(None)
    }
}

/// A setting that is a URL: whose, and where it may be given.
struct UrlSetting {
    server: &'static str,
    flag: &'static str,
    env: &'static str,
}

const AMQP: UrlSetting = UrlSetting { server: "RabbitMQ", flag: "amqp-url", env: "LOYALTY_AMQP_URL" };
const MANAGEMENT: UrlSetting =
    UrlSetting { server: "the management API", flag: "management-url", env: "LOYALTY_MANAGEMENT_URL" };
const DATABASE: UrlSetting = UrlSetting { server: "PostgreSQL", flag: "database-url", env: "LOYALTY_DATABASE_URL" };
const SMTP: UrlSetting = UrlSetting { server: "the mail server", flag: "smtp-url", env: "LOYALTY_SMTP_URL" };

impl UrlSetting {
    const fn not_given(&self) -> SettingsError {
        SettingsError::NotGiven { server: self.server, flag: self.flag, env: self.env }
    }
}

/// A path, be it empty. clap's own parser takes an empty variable for a mistake.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// A path that is not empty.
fn set(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path).filter(|path| !path.as_os_str().is_empty())
}

/// Why a setting is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// Nobody said where a server is.
    #[error("where is {server}? Run `loyalty dev` in this directory or one above it, or give --{flag} or {env}")]
    NotGiven {
        server: &'static str,
        /// The flag that would say.
        flag: &'static str,
        /// The variable that would say.
        env: &'static str,
    },
    /// A server's URL cannot be used. Nothing of it is quoted.
    #[error("the URL in {place} cannot be used: {problem}")]
    Url {
        place: String,
        /// What is wrong with it.
        problem: UrlError,
    },
    /// A file could not be read.
    #[error("could not read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A file is not what it should be. Its text is not quoted, since it may hold a password.
    #[error("{}: {problem}", path.display())]
    Config {
        path: PathBuf,
        /// What is wrong, and in which line.
        problem: String,
    },
    /// Somebody else could have written the file and sent us to servers of theirs.
    #[error("{} belongs to another user or is open to others, so it is not trusted", path.display())]
    Foreign { path: PathBuf },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(data: &Path) -> Settings {
        Settings { data: Some(data.to_path_buf()), ..Settings::default() }
    }

    fn running() -> RunningDev {
        RunningDev {
            pid: std::process::id(),
            http: "http://127.0.0.1:5000".into(),
            amqp_url: "amqp://left".into(),
            management_url: Some("http://left".into()),
            database_url: "postgres://left".into(),
            smtp_url: None,
        }
    }

    #[test]
    fn what_is_given_wins_over_what_a_running_dev_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = running_dev::Lock::take(dir.path()).expect("nobody else is here");
        lock.announce(&running()).expect("the file is written");
        let mut settings = settings(dir.path());
        assert_eq!(settings.amqp().expect("left").expose(), "amqp://left");
        settings.amqp_url = Some(UnparsedUrl::from("amqp://given"));
        assert_eq!(settings.amqp().expect("given").expose(), "amqp://given");
        settings.amqp_url = Some(UnparsedUrl::from(""));
        assert_eq!(settings.amqp().expect("an empty variable is none").expose(), "amqp://left");
    }

    #[test]
    fn the_management_api_of_a_dev_is_not_asked_about_another_broker() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = running_dev::Lock::take(dir.path()).expect("nobody else is here");
        lock.announce(&running()).expect("the file is written");
        let mut settings = settings(dir.path());
        let management =
            |settings: &Settings| settings.management().expect("readable").map(|url| url.expose().to_owned());
        assert_eq!(management(&settings).as_deref(), Some("http://left"));
        settings.amqp_url = Some(UnparsedUrl::from("amqp://given"));
        assert_eq!(management(&settings), None);
        settings.management_url = Some(UnparsedUrl::from("http://given"));
        assert_eq!(management(&settings).as_deref(), Some("http://given"));
    }

    #[test]
    fn what_a_dev_left_that_ended_is_not_believed() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = running_dev::Lock::take(dir.path()).expect("nobody else is here");
        lock.announce(&running()).expect("the file is written");
        drop(lock);
        let error = settings(dir.path()).database().expect_err("nothing runs");
        insta::assert_snapshot!(error, @"where is PostgreSQL? Run `loyalty dev` in this directory or one above it, or give --database-url or LOYALTY_DATABASE_URL");
    }

    #[test]
    fn the_mail_server_of_the_programme_comes_before_the_mailbox_of_dev() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = running_dev::Lock::take(dir.path()).expect("nobody else is here");
        lock.announce(&RunningDev { smtp_url: Some("smtp://left".into()), ..running() }).expect("the file is written");
        let mut config = Config::default();
        let smtp = |settings: &Settings, config: &Config| {
            settings.smtp(config).expect("readable").map(|url| url.expose().to_owned())
        };
        let mut settings = settings(dir.path());
        assert_eq!(smtp(&settings, &config).as_deref(), Some("smtp://left"));
        config.mail.smtp = Some(SmtpUrl::known("smtp://programme"));
        assert_eq!(smtp(&settings, &config).as_deref(), Some("smtp://programme"));
        settings.smtp_url = Some(UnparsedUrl::from("smtp://given"));
        assert_eq!(smtp(&settings, &config).as_deref(), Some("smtp://given"));
    }
}
