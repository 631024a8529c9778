//! How the connections to PostgreSQL are secured, as `sslmode` in the URL says.
//!
//! What is asked for is what is done: nothing here falls back to speaking in the clear.

use std::ops::Range;

use loyalty_common::secret::SecretUrl;
use loyalty_common::tls;
use rustls::ClientConfig;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use super::StoreError;

/// How to connect.
pub(super) enum Security {
    /// In the clear.
    Off,
    /// With TLS and a certificate that is believed, or not at all.
    Verified(Box<ClientConfig>),
}

/// The configuration of a URL and how its connections are secured.
///
/// `require` and `verify-ca` are taken for `verify-full`: a certificate that nobody checks keeps out nobody who can
/// stand in between. `prefer` and `allow` would fall back without a word and are refused. Without `sslmode`
/// connections are not secured, as inside one machine or a private network.
pub(super) fn read(url: &SecretUrl) -> Result<(Config, Security), StoreError> {
    let text = url.expose();
    let asked = sslmode(text);
    let is_off = match asked.clone().map(|place| &text[place]) {
        None | Some("disable") => true,
        Some("require" | "verify-ca" | "verify-full") => false,
        Some(_) => return Err(StoreError::SslMode),
    };
    // The driver does not know all of these modes.
    let mut known = text.to_owned();
    if let Some(place) = asked {
        known.replace_range(place, if is_off { "disable" } else { "require" });
    }
    let mut config: Config = known.parse().map_err(StoreError::Url)?;
    // It read the same; if not, somebody wrote it in a way that we overlooked (twice, with spaces, encoded).
    let expected = match sslmode(text) {
        None => SslMode::Prefer,
        Some(_) if is_off => SslMode::Disable,
        Some(_) => SslMode::Require,
    };
    if config.get_ssl_mode() != expected {
        return Err(StoreError::SslMode);
    }
    if is_off {
        config.ssl_mode(SslMode::Disable);
        return Ok((config, Security::Off));
    }
    config.ssl_mode(SslMode::Require);
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
            let read = read(&SecretUrl::new(url));
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
}
