//! Where emails go out: a mail server's address, how its connections are secured, and our login there.
//!
//! `smtp://[user:password@]host[:port][?tls=required|opportunistic|off]` or `smtps://...`. A password never crosses
//! the network in the clear unless `tls=off` says so.

use std::sync::Arc;

use lettre::transport::smtp::authentication::Credentials;
use loyalty_common::secret::{Endpoint, Parts, Problem, SecretUrl};
use loyalty_common::tls::{self, TlsError};
use rustls::ClientConfig;
use url::Url;

/// A mail server.
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) credentials: Option<Credentials>,
    /// As it was given, for errors.
    pub(crate) url: SmtpUrl,
}

/// How a connection is secured. Certificates are checked against the machine's authorities and those of the URL.
pub(crate) enum Security {
    /// Not at all.
    Off,
    /// By STARTTLS if the server offers it; somebody in between can suppress the offer.
    Opportunistic(Arc<ClientConfig>),
    /// By STARTTLS, or not used.
    Required(Arc<ClientConfig>),
    /// From the first byte.
    Implicit(Arc<ClientConfig>),
}

/// The usual ports: delivery, submission with STARTTLS (RFC 6409), submission over TLS (RFC 8314).
const PORT: u16 = 25;
const PORT_STARTTLS: u16 = 587;
const PORT_IMPLICIT: u16 = 465;

/// A mail server as a URL names it.
#[derive(Clone)]
pub struct MailServer {
    parts: Parts,
    tls: Tls,
}

/// The URL of a mail server.
pub type SmtpUrl = SecretUrl<MailServer>;

impl Endpoint for MailServer {
    const EXAMPLE: &'static str = "smtps://user:password@host or smtp://host:25";

    fn parse(url: &str) -> Result<Self, Problem> {
        let parts = Parts::parse(url, ["smtp", "smtps"], Problem("it must begin with smtp:// or smtps://"))?;
        let tls = wanted_tls(parts.url(), parts.login().is_some())?;
        Ok(Self { parts, tls })
    }

    fn shown(&self) -> String {
        self.parts.shown(false)
    }
}

impl Server {
    /// The server of a URL.
    pub(crate) fn new(url: &SmtpUrl) -> Result<Self, ServerError> {
        let MailServer { parts, tls: wanted } = url.server();
        let host = parts.host().to_owned();
        let tls = || tls::client_config(url).map(Arc::new);
        let (security, usual_port) = match wanted {
            Tls::Off => (Security::Off, PORT),
            Tls::Opportunistic => (Security::Opportunistic(tls()?), PORT_STARTTLS),
            Tls::Required => (Security::Required(tls()?), PORT_STARTTLS),
            Tls::Implicit => (Security::Implicit(tls()?), PORT_IMPLICIT),
        };
        let credentials = parts.login().map(|(user, password)| Credentials::new(user, password));
        Ok(Self { port: parts.url().port().unwrap_or(usual_port), host, security, credentials, url: url.clone() })
    }
}

/// Why a URL names no mail server that we could use.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The file that says which certificates are believed is of no use.
    #[error(transparent)]
    Authorities(#[from] TlsError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    Off,
    Opportunistic,
    Required,
    Implicit,
}

fn wanted_tls(url: &Url, with_password: bool) -> Result<Tls, Problem> {
    let asked = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
    let from_the_first_byte = url.scheme() == "smtps";
    match (from_the_first_byte, asked.as_deref()) {
        (true, None) => Ok(Tls::Implicit),
        (false, None) => Ok(if with_password { Tls::Required } else { Tls::Off }),
        (false, Some("required")) => Ok(Tls::Required),
        (false, Some("opportunistic")) => Ok(Tls::Opportunistic),
        (false, Some("off")) => Ok(Tls::Off),
        (false, Some(_)) => Err(Problem("`tls` must be required, opportunistic or off")),
        (true, Some(_)) => Err(Problem("smtps:// takes no `tls`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_asks_for_tls() {
        let check = |url: &str, host: &str, port: u16, security: fn(&Security) -> bool| {
            let server = Server::new(&SmtpUrl::known(url)).expect(url);
            assert_eq!((server.host.as_str(), server.port), (host, port), "{url}");
            assert!(security(&server.security), "{url}");
        };
        let off = |security: &Security| matches!(security, Security::Off);
        let opportunistic = |security: &Security| matches!(security, Security::Opportunistic(_));
        let required = |security: &Security| matches!(security, Security::Required(_));
        let implicit = |security: &Security| matches!(security, Security::Implicit(_));
        check("smtp://127.0.0.1:2525", "127.0.0.1", 2525, off);
        check("smtp://[::1]", "::1", 25, off);
        check("smtp://mail.example.com?tls=opportunistic", "mail.example.com", 587, opportunistic);
        check("smtp://ann:s%40cret@mail.example.com", "mail.example.com", 587, required);
        check("smtp://ann:secret@127.0.0.1?tls=off", "127.0.0.1", 25, off);
        check("smtps://ann:secret@mail.example.com", "mail.example.com", 465, implicit);
    }

    #[test]
    fn a_wrong_url_is_explained_without_its_password() {
        let check = |url: &str, problem: &str| {
            let error = SmtpUrl::parse(url).expect_err(url).to_string();
            assert_eq!(error, format!("{problem}; it looks like {}", MailServer::EXAMPLE));
        };
        check("mail.example.com", "it is not a URL");
        check("http://ann:secret@mail.example.com", "it must begin with smtp:// or smtps://");
        check("smtp://ann:secret@mail.example.com?tls=maybe", "`tls` must be required, opportunistic or off");
        check("smtps://mail.example.com?tls=off", "smtps:// takes no `tls`");
        check(
            "smtp://ann:S3CR?T99@mail.example.com",
            "its port is no number, or a character of its password is not encoded",
        );
    }
}
