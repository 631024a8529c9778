//! TLS to the servers: whose certificates are believed, and what is said when one is not.
//!
//! There is one rule for all: a certificate must be for the host that we asked for and signed by an authority of this
//! machine, or by one of the file that the URL was given (`LOYALTY_CA_FILE`). Nothing here ever looks away.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::secret::{Endpoint, SecretUrl};

/// What a connection to the server of a URL believes.
pub fn client_config<S>(url: &SecretUrl<S>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    // A machine without any, or with some that cannot be read, may still have a private one.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in private_authorities(url)? {
        roots.add(certificate).map_err(|source| TlsError::Authority { path: path_of(url), source })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("ring has what the default versions need");
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The file of private authorities of a URL, whole; read again each time, so that a new one counts from the next
/// connection on. An error, if there is no certificate in it.
pub fn private_authorities_pem<S>(url: &SecretUrl<S>) -> Result<Option<String>, TlsError> {
    private_authorities(url)?;
    let read = |path| std::fs::read_to_string(path).map_err(|source| TlsError::Read { path: path_of(url), source });
    url.ca_file().map(read).transpose()
}

fn private_authorities<S>(url: &SecretUrl<S>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let Some(path) = url.ca_file() else { return Ok(Vec::new()) };
    let failed = |source| match source {
        pem::Error::Io(source) => TlsError::Read { path: path.to_path_buf(), source },
        source => TlsError::Pem { path: path.to_path_buf(), source },
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if certificates.is_empty() { Err(TlsError::Empty { path: path.to_path_buf() }) } else { Ok(certificates) }
}

fn path_of<S>(url: &SecretUrl<S>) -> PathBuf {
    url.ca_file().map(PathBuf::from).unwrap_or_default()
}

/// Why the file of private authorities is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("could not read the certificates of {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not of the form.
    #[error("{} does not hold certificates in PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// There is none in it.
    #[error("{} holds no certificate in PEM", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One in it is none of an authority.
    #[error("{} holds a certificate that cannot be an authority's", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// A server's certificate was not believed: why, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    problem: String,
    expected: String,
}

impl Untrusted {
    /// What a failed connection to a URL has to do with certificates, if anything.
    pub fn of<S: Endpoint>(error: &(dyn Error + 'static), url: &SecretUrl<S>) -> Option<Self> {
        let rustls::Error::InvalidCertificate(problem) = rustls_error(error)? else { return None };
        let own = url.ca_file().map(|path| format!(" or of {}", path.display())).unwrap_or_default();
        let expected = format!("one for the host of {url}, signed by an authority of this machine{own}");
        let problem = match problem {
            CertificateError::UnknownIssuer => "its authority is not known here".to_owned(),
            problem => problem.to_string(),
        };
        Some(Self { problem, expected })
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server's certificate is not trusted ({}); expected {}", self.problem, self.expected)
    }
}

/// Libraries wrap it several times, and an I/O error leaves out of its sources what it was made of.
fn rustls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref::<rustls::Error>() {
        return Some(found);
    }
    let inner: Option<&'a (dyn Error + 'static)> = match error.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    };
    rustls_error(inner?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str) -> SecretUrl {
        url.parse().expect("a URL")
    }

    #[test]
    fn what_was_expected_is_named_without_the_password() {
        let refused = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::other(refused));
        let url = url("amqps://ann:s3cret@host/shop").trusting(Some("/etc/shop.pem".as_ref()));
        assert_eq!(
            Untrusted::of(&wrapped, &url).expect("it is about a certificate").to_string(),
            "the server's certificate is not trusted (its authority is not known here); expected one for \
             the host of amqps://ann:***@host/shop, signed by an authority of this machine or of /etc/shop.pem"
        );
        assert_eq!(Untrusted::of(&io::Error::other("refused"), &url), None);
    }

    #[test]
    fn a_file_without_certificates_is_an_error_and_not_silence() {
        let trusting = |path: &str| url("amqps://host").trusting(Some(path.as_ref()));
        assert!(matches!(client_config(&trusting("/nowhere.pem")), Err(TlsError::Read { .. })));
        let this = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(matches!(client_config(&trusting(this)), Err(TlsError::Empty { .. })));
        assert!(client_config(&url("amqps://host")).is_ok());
    }
}
