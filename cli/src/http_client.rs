//! Requests to other servers over HTTP: in the clear, or over TLS with the certificates that are believed here.

use std::error::Error;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use loyalty_common::secret::{Endpoint, Parts, Problem, SecretUrl};
use loyalty_common::tls::{self, TlsError};
use url::Url;

/// A server that speaks HTTP.
#[derive(Clone)]
pub(crate) struct Http(Parts);

pub(crate) type HttpUrl = SecretUrl<Http>;

impl Http {
    /// The URL as it was read.
    pub(crate) const fn url(&self) -> &Url {
        self.0.url()
    }

    pub(crate) fn login(&self) -> Option<(String, String)> {
        self.0.login()
    }
}

impl Endpoint for Http {
    const EXAMPLE: &'static str = "http://user:password@host:15672";

    fn parse(url: &str) -> Result<Self, Problem> {
        Parts::parse(url, ["http", "https"], Problem("it must begin with http:// or https://")).map(Self)
    }

    fn shown(&self) -> String {
        self.0.shown(false)
    }
}

/// A client of one server. Over TLS the certificates of the machine are needed, which an `http` URL must not ask for.
#[derive(Clone, Debug)]
pub(crate) enum HttpClient {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl HttpClient {
    /// For a URL. Connects to nothing yet.
    pub(crate) fn new(url: &HttpUrl) -> Result<Self, TlsError> {
        if url.server().url().scheme() == "https" { Self::tls(url) } else { Ok(Self::plain()) }
    }

    /// In the clear.
    pub(crate) fn plain() -> Self {
        Self::Plain(Client::builder(TokioExecutor::new()).build(HttpConnector::new()))
    }

    /// Over TLS with what is believed of this URL's server. Connects to nothing yet.
    fn tls(url: &HttpUrl) -> Result<Self, TlsError> {
        let tls = tls::client_config(url)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1();
        Ok(Self::Tls(Client::builder(TokioExecutor::new()).build(connector.build())))
    }

    /// Sends a request and reads the whole answer, whose body has at most so many bytes.
    pub(crate) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        body_bytes: usize,
    ) -> Result<Response<Bytes>, Box<dyn Error + Send + Sync>> {
        let response = match self {
            Self::Plain(client) => client.request(request).await?,
            Self::Tls(client) => client.request(request).await?,
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, body_bytes).collect().await?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}
