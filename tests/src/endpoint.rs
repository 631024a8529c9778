//! A server's URL taken apart, so that the same login serves another database or virtual host, straight or through a
//! proxy. Never shown: it holds a password.

use std::net::SocketAddr;

use loyalty_common::secret::{self, SecretUrl};

/// Where a server listens and how to log in.
#[derive(Clone)]
pub(crate) struct Endpoint {
    scheme: String,
    /// `user:password`, percent-encoded as it was given.
    login: String,
    host: String,
    port: u16,
    /// The database or virtual host of the URL, which a given server has already.
    path: String,
    query: String,
}

impl Endpoint {
    /// Takes a URL apart.
    pub(crate) fn parse(url: &str, usual_port: u16) -> Self {
        let (scheme, rest) = url.split_once("://").expect("a server's URL has a scheme");
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().expect("a port is a number")),
            None => (authority, usual_port),
        };
        let [scheme, login, host, path, query] = [scheme, login, host, path, query].map(str::to_owned);
        Self { scheme, login, host, port, path, query }
    }

    /// The URL of the database or virtual host that the server had before us.
    pub(crate) fn own_url<S: secret::Endpoint>(&self) -> SecretUrl<S> {
        self.url(&self.path)
    }

    /// The URL of a database or virtual host.
    pub(crate) fn url<S: secret::Endpoint>(&self, path: &str) -> SecretUrl<S> {
        SecretUrl::known(self.text(path))
    }

    /// The same as text, for a program.
    pub(crate) fn text(&self, path: &str) -> String {
        self.text_at(&format!("{}:{}", self.host, self.port), path)
    }

    /// The same, for a program that must not connect directly.
    pub(crate) fn text_through(&self, proxy: SocketAddr, path: &str) -> String {
        self.text_at(&proxy.to_string(), path)
    }

    /// What a proxy connects to.
    pub(crate) async fn addr(&self) -> SocketAddr {
        let mut found = tokio::net::lookup_host((self.host.as_str(), self.port)).await.expect("the server's host");
        found.next().expect("the server's host has an address")
    }

    /// The same door with another's login, if it has none of its own.
    pub(crate) fn with_login_of(mut self, other: &Self) -> Self {
        if self.login.is_empty() {
            self.login.clone_from(&other.login);
        }
        self
    }

    /// The same door with this login, `user:password`.
    pub(crate) fn with_login(mut self, login: String) -> Self {
        self.login = login;
        self
    }

    /// The user's name and password, for another door of the same server.
    pub(crate) fn login(&self) -> (&str, &str) {
        self.login.split_once(':').unwrap_or((&self.login, ""))
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    fn text_at(&self, authority: &str, path: &str) -> String {
        let login = if self.login.is_empty() { String::new() } else { format!("{}@", self.login) };
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        format!("{}://{login}{authority}/{path}{query}", self.scheme)
    }
}
