//! URLs that hold a password and must not show it: not in logs, not in errors, not in `Debug`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A server's address with its credentials, and whose certificates are believed there. Shown with the password hidden.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl {
    url: String,
    ca_file: Option<Arc<Path>>,
}

impl SecretUrl {
    /// Wraps a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ca_file: None }
    }

    /// The same server, believed with the authorities of a file, too.
    #[must_use]
    pub fn trusting(self, ca_file: Option<&Path>) -> Self {
        Self { ca_file: ca_file.map(Arc::from), ..self }
    }

    /// The file of authorities that are believed besides those of this machine, in PEM.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// The URL with its password. Only for the driver that connects.
    pub fn expose(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.url.split_once("://") else {
            return f.write_str("(no URL)");
        };
        // The query may hold secrets too (`password=`), and nothing in it helps a reader of logs.
        let authority_and_path = rest.split('?').next().unwrap_or(rest);
        match authority_and_path.rsplit_once('@') {
            Some((credentials, host)) => {
                let user = credentials.split(':').next().unwrap_or_default();
                write!(f, "{scheme}://{user}:***@{host}")
            }
            None => write!(f, "{scheme}://{authority_and_path}"),
        }
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for SecretUrl {
    type Err = std::convert::Infallible;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_hidden() {
        let check = |url: &str, shown: &str| {
            assert_eq!(SecretUrl::new(url).to_string(), shown);
            assert_eq!(format!("{:?}", SecretUrl::new(url)), shown);
        };
        check("amqp://ann:s3cret@host:5672/shop?heartbeat=10", "amqp://ann:***@host:5672/shop");
        check("postgres://ann:p@ss@host/db", "postgres://ann:***@host/db");
        check("smtp://127.0.0.1:25", "smtp://127.0.0.1:25");
        check("host=db password=s3cret", "(no URL)");
    }
}
