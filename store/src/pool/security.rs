//! How the connections to PostgreSQL are secured, as `sslmode` in the URL says.
//!
//! What is asked for is what is done: nothing here falls back to speaking in the clear.

use std::ops::Range;

use loyalty_common::secret::{self, Endpoint, Problem, SecretUrl};
use loyalty_common::tls;
use rustls::ClientConfig;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::StoreError;

/// How to connect.
pub(super) enum Security {
    /// In the clear.
    Off,
    /// With TLS and a certificate that is believed, or not at all.
    Verified(Box<ClientConfig>),
}

/// A database, as a URL or a connection string names it.
#[derive(Clone)]
pub struct Database {
    config: Config,
    tls: bool,
}

pub type DatabaseUrl = SecretUrl<Database>;

const SSL_MODE: Problem = Problem(
    "sslmode must be disable, require or verify-full; what may fall back to speaking in the clear is not taken",
);

/// `require` and `verify-ca` are taken for `verify-full`: a certificate that nobody checks keeps out nobody who can
/// stand in between. `prefer` and `allow` would fall back without a word and are refused. Without `sslmode`
/// connections are not secured, as inside one machine or a private network.
impl Endpoint for Database {
    const EXAMPLE: &'static str = "postgres://user:password@host:5432/database";

    fn parse(text: &str) -> Result<Self, Problem> {
        let asked = sslmode(text);
        let is_off = match asked.clone().map(|place| &text[place]) {
            None | Some("disable") => true,
            Some("require" | "verify-ca" | "verify-full") => false,
            Some(_) => return Err(SSL_MODE),
        };
        // The driver does not know all of these modes.
        let mut known = text.to_owned();
        if let Some(place) = asked {
            known.replace_range(place, if is_off { "disable" } else { "require" });
        }
        // Its errors may quote an option, which may be the second half of a password.
        let mut config: Config = known.parse().map_err(|_| UNREADABLE)?;
        // It read the same; if not, somebody wrote it in a way that we overlooked (twice, with spaces, encoded).
        let expected = match sslmode(text) {
            None => SslMode::Prefer,
            Some(_) if is_off => SslMode::Disable,
            Some(_) => SslMode::Require,
        };
        if config.get_ssl_mode() != expected {
            return Err(SSL_MODE);
        }
        plausible(text, &config)?;
        config.ssl_mode(if is_off { SslMode::Disable } else { SslMode::Require });
        Ok(Self { config, tls: !is_off })
    }

    /// Of several hosts, all; a connection string as the URL that says the same.
    fn shown(&self) -> String {
        let ports = self.config.get_ports();
        let hosts = self.config.get_hosts().iter().enumerate().map(|(index, host)| {
            let port = ports.get(index).or(ports.first()).filter(|port| **port != USUAL_PORT);
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            match host {
                Host::Tcp(host) => format!("{host}{port}"),
                Host::Unix(directory) => format!("{}{port}", directory.display()),
            }
        });
        let database = self.config.get_dbname().map(|name| format!("/{name}")).unwrap_or_default();
        let user = self.config.get_user().map(|user| (user, self.config.get_password().is_some()));
        secret::shown("postgres", user, &format!("{}{database}", hosts.collect::<Vec<_>>().join(",")))
    }
}

/// What the driver takes where no port stands.
const USUAL_PORT: u16 = 5432;

const UNREADABLE: Problem = Problem("its port or another part of it cannot be read");

/// The driver takes all before the first `@` for user and password, whatever it is.
fn plausible(text: &str, config: &Config) -> Result<(), Problem> {
    let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
    let odd_user = config.get_user().is_some_and(|user| user.contains(['/', '?', '#', '@']));
    if is_url && (text.matches('@').count() > 1 || odd_user) {
        return Err(Problem::UNENCODED);
    }
    if config.get_hosts().is_empty() {
        return Err(Problem::NO_HOST);
    }
    Ok(())
}

/// The configuration of a URL and how its connections are secured.
pub(super) fn read(url: &DatabaseUrl) -> Result<(Config, Security), StoreError> {
    let Database { config, tls } = url.server().clone();
    if !tls {
        return Ok((config, Security::Off));
    }
    Ok((config, Security::Verified(Box::new(tls::client_config(url).map_err(StoreError::Authorities)?))))
}

/// Where the value of `sslmode` stands: after the question mark of a URL, or among the words of a connection string.
fn sslmode(text: &str) -> Option<Range<usize>> {
    const NAME: &str = "sslmode=";
    let begin = if text.contains("://") { text.find('?')? + 1 } else { 0 };
    let is_name = |at: usize| at == begin || text[..at].ends_with(['&', ' ']);
    let at = text[begin..].match_indices(NAME).map(|(at, _)| begin + at).find(|at| is_name(*at))?;
    let value = at + NAME.len();
    let length = text[value..].find(['&', ' ']).unwrap_or(text.len() - value);
    Some(value..value + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_done_or_refused() {
        let check = |url: &str, expected: Option<SslMode>| {
            let read = DatabaseUrl::parse(url).map(|url| read(&url).expect("no file to be read"));
            let (secured, mode) = match &read {
                Ok((config, security)) => (matches!(security, Security::Verified(_)), Some(config.get_ssl_mode())),
                Err(_) => (false, None),
            };
            assert_eq!(mode, expected, "{url}");
            assert_eq!(secured, expected == Some(SslMode::Require), "{url}");
        };
        let (off, on) = (Some(SslMode::Disable), Some(SslMode::Require));
        check("postgres://ann:s3cret@host/shop", off);
        check("postgres://ann:s3cret@host/shop?sslmode=disable", off);
        check("postgres://ann:s3cret@host/shop?sslmode=require", on);
        check("postgres://host/shop?connect_timeout=5&sslmode=verify-full", on);
        check("postgres://host/shop?sslmode=verify-ca&connect_timeout=5", on);
        check("host=host dbname=shop sslmode=verify-full user=ann", on);
        check("postgres://ann:sslmode=verify-full@host/shop", off);
        check("host=host password=xsslmode=require", off);
        check("host=host sslmode = require", None);
        check("postgres://host/shop?sslmode=disable&sslmode=require", None);
        check("postgres://host/shop?ssl%6Dode=require", None);
        for refused in ["prefer", "allow", "", "VERIFY-FULL", "verify_full"] {
            check(&format!("postgres://host/shop?sslmode={refused}"), None);
        }
    }

    #[test]
    fn a_url_shows_no_password_and_a_wrong_one_nothing() {
        let check = |url: &str, shown: &str| assert_eq!(DatabaseUrl::parse(url).expect(url).to_string(), shown);
        check("postgres://ann:s3cret@host/shop?sslmode=disable", "postgres://ann:***@host/shop");
        check("postgres://ann:s3/c?r#t@one:1,two:2/shop", "postgres://ann:***@one:1,two:2/shop");
        check("host=db port=5433 user=ann password=s3cret dbname=shop", "postgres://ann:***@db:5433/shop");
        check("postgres://t0ken@host", "postgres://***@host");
        let wrong = |url: &str, problem: Problem| {
            let error = DatabaseUrl::parse(url).expect_err(url).to_string();
            assert_eq!(error, format!("{}; it looks like {}", problem.0, Database::EXAMPLE));
        };
        wrong("nonsense", UNREADABLE);
        wrong("postgres://ann:s3cret@host:port/shop", UNREADABLE);
        wrong("host=db user=ann password=my s3cret=yes", UNREADABLE);
        wrong("postgres://ann:p@ss@host/db", Problem::UNENCODED);
        wrong("postgres://host/db?password=s3cret@", Problem::UNENCODED);
        wrong("postgres:///shop", Problem::NO_HOST);
        wrong("postgres://ann:s3cret@host/shop?sslmode=prefer", SSL_MODE);
    }
}
