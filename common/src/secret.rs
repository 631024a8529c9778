//! URLs that hold a password and must not show it: not in logs, not in errors, not in `Debug`.
//!
//! A URL is read once, where it comes in, by the kind of server that it is for; what cannot be used never becomes a
//! [`SecretUrl`]. Neither what it shows nor its errors ever quote a part of the text that could be a password put in
//! the wrong place.

mod amqp;
mod parts;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

pub use amqp::Amqp;
pub use parts::{Parts, shown};

/// A kind of server: what its URLs say, and how they are shown.
pub trait Endpoint: Clone {
    /// How such a URL looks.
    const EXAMPLE: &'static str;

    /// Reads a URL.
    fn parse(url: &str) -> Result<Self, Problem>;

    /// The URL without anything that could be a secret.
    fn shown(&self) -> String;
}

/// A server's address with its credentials, and whose certificates are believed there; RabbitMQ's unless the type says
/// otherwise. Shown with the password hidden.
#[derive(Clone)]
pub struct SecretUrl<S = Amqp> {
    url: Arc<str>,
    /// Behind a pointer: errors carry URLs, and are to stay small.
    server: Arc<S>,
    ca_file: Option<Arc<Path>>,
}

impl<S: Endpoint> SecretUrl<S> {
    /// Reads a URL.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        match S::parse(url) {
            Ok(server) => Ok(Self { url: url.into(), server: Arc::new(server), ca_file: None }),
            Err(problem) => Err(UrlError { problem, example: S::EXAMPLE }),
        }
    }

    /// A URL that this program has made itself; one of anybody else is to be [parsed](Self::parse).
    pub fn known(url: impl AsRef<str>) -> Self {
        Self::parse(url.as_ref()).unwrap_or_else(|error| panic!("a URL of our own cannot be used: {error}"))
    }
}

impl<S> SecretUrl<S> {
    /// The same server, believed with the authorities of a file, too.
    #[must_use]
    pub fn trusting(self, ca_file: Option<&Path>) -> Self {
        Self { ca_file: ca_file.map(Arc::from), ..self }
    }

    /// The file of authorities that are believed besides those of this machine, in PEM.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// What the URL says.
    pub fn server(&self) -> &S {
        &self.server
    }

    /// The URL with its password. Only to hand it on, never to show it.
    pub fn expose(&self) -> &str {
        &self.url
    }
}

impl<S> PartialEq for SecretUrl<S> {
    fn eq(&self, other: &Self) -> bool {
        (&self.url, &self.ca_file) == (&other.url, &other.ca_file)
    }
}

impl<S> Eq for SecretUrl<S> {}

impl<S: Endpoint> fmt::Display for SecretUrl<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.server.shown())
    }
}

impl<S: Endpoint> fmt::Debug for SecretUrl<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<S: Endpoint> FromStr for SecretUrl<S> {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        Self::parse(url)
    }
}

/// What is wrong with a URL, in words that were there before it was: they cannot hold a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem(pub &'static str);

impl Problem {
    /// A password that was put into a URL as it is.
    pub const UNENCODED: Self =
        Self("`/`, `?`, `#` and `@` in a user or password must be percent-encoded (%2F, %3F, %23, %40)");
    /// Nothing says where the server is.
    pub const NO_HOST: Self = Self("it names no host");
}

/// Why a URL cannot be used. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}; it looks like {example}", problem.0)]
pub struct UrlError {
    problem: Problem,
    example: &'static str,
}
