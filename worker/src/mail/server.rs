//! Where mails go out: a mail server's address, how its connections are secured, and our login there.
//!
//! `smtp://[user:password@]host[:port][?tls=required|opportunistic|off]` or `smtps://...`. A password never crosses
//! the network in the clear unless `tls=off` says so.

use std::str::Utf8Error;
use std::sync::Arc;

use lettre::transport::smtp::authentication::Credentials;
use loyalty_common::secret::SecretUrl;
use loyalty_common::tls::{self, TlsError};
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use url::Url;

/// A mail server.
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) credentials: Option<Credentials>,
    /// As it was given, for errors.
    pub(crate) url: SecretUrl,
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

impl Server {
    /// The server of a URL.
    pub(crate) fn parse(url: &SecretUrl) -> Result<Self, ServerError> {
        let wrong = |problem| ServerError::Url { url: url.clone(), problem };
        let parsed = Url::parse(url.expose()).map_err(|_| wrong("it is not a URL"))?;
        // An IPv6 address stands in brackets in a URL and nowhere else.
        let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let credentials = credentials(&parsed).map_err(|_| wrong("its user or password is not UTF-8"))?;
        let wanted = wanted_tls(&parsed, credentials.is_some()).map_err(wrong)?;
        let tls = || tls::client_config(url).map(Arc::new);
        let (security, usual_port) = match wanted {
            Tls::Off => (Security::Off, PORT),
            Tls::Opportunistic => (Security::Opportunistic(tls()?), PORT_STARTTLS),
            Tls::Required => (Security::Required(tls()?), PORT_STARTTLS),
            Tls::Implicit => (Security::Implicit(tls()?), PORT_IMPLICIT),
        };
        Ok(Self { port: parsed.port().unwrap_or(usual_port), host, security, credentials, url: url.clone() })
    }
}

/// Why a URL names no mail server that we could use.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It is not of the expected form.
    #[error("{url} is no mail server: {problem}")]
    Url {
        /// The URL, its password hidden.
        url: SecretUrl,
        /// What is wrong with it.
        problem: &'static str,
    },
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

fn wanted_tls(url: &Url, with_password: bool) -> Result<Tls, &'static str> {
    let asked = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
    match (url.scheme(), asked.as_deref()) {
        ("smtps", None) => Ok(Tls::Implicit),
        ("smtp", None) => Ok(if with_password { Tls::Required } else { Tls::Off }),
        ("smtp", Some("required")) => Ok(Tls::Required),
        ("smtp", Some("opportunistic")) => Ok(Tls::Opportunistic),
        ("smtp", Some("off")) => Ok(Tls::Off),
        ("smtp", Some(_)) => Err("`tls` must be required, opportunistic or off"),
        ("smtps", Some(_)) => Err("smtps:// takes no `tls`"),
        (_, _) => Err("it must begin with smtp:// or smtps://"),
    }
}

/// Characters with a meaning in URLs are percent-encoded there.
fn credentials(url: &Url) -> Result<Option<Credentials>, Utf8Error> {
    let decode = |text| Ok(percent_decode_str(text).decode_utf8()?.into_owned());
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        (user, password) => Ok(Some(Credentials::new(decode(user)?, decode(password.unwrap_or_default())?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_asks_for_tls() {
        let check = |url: &str, host: &str, port: u16, security: fn(&Security) -> bool| {
            let server = Server::parse(&SecretUrl::new(url)).expect(url);
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
        let check = |url: &str, expected: &str| {
            let error = Server::parse(&SecretUrl::new(url)).err().expect(url);
            assert_eq!(error.to_string(), expected);
        };
        check("mail.example.com", "(no URL) is no mail server: it is not a URL");
        check(
            "http://ann:secret@mail.example.com",
            "http://ann:***@mail.example.com is no mail server: it must begin with smtp:// or smtps://",
        );
        check(
            "smtp://ann:secret@mail.example.com?tls=maybe",
            "smtp://ann:***@mail.example.com is no mail server: `tls` must be required, opportunistic or off",
        );
    }
}
