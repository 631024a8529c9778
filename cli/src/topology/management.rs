//! RabbitMQ's management API: what AMQP does not show. It only reads, and a password is in no error.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode};
use loyalty_common::secret::SecretUrl;
use loyalty_common::tls::TlsError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::management_model::{Binding, Exchange, Overview, Policy, Queue, VirtualHost};
use crate::http_client::{HttpClient, HttpUrl};

/// One answer. A list of some hundred queues takes a fraction of a second; a node that is short of memory, several.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// One answer's body: a queue is described in about 500 bytes, so tens of thousands of them. What is larger comes from
/// a virtual host that is not for us alone, or from no RabbitMQ.
const BODY_BYTES: usize = 32 * 1024 * 1024;

/// What stays as it is in a part of a path: RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How to ask for queues: what the node knows of itself rather than its statistics, which can be switched off and lag
/// behind. The totals it counts every few seconds.
const WITH_TOTALS: &str = "?disable_stats=true&enable_queue_totals=true";

/// The API, asked about one virtual host.
pub(super) struct Management {
    url: HttpUrl,
    /// Scheme, host, port and whatever path leads to the API.
    base: String,
    vhost: String,
    authorization: HeaderValue,
    client: HttpClient,
}

/// Why the API did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManagementError {
    /// Nothing can be asked at its address.
    #[error("the management API at {url} cannot be asked for {path}")]
    Url {
        url: HttpUrl,
        /// What was to be asked for.
        path: String,
    },
    /// The file that says which certificates are believed is of no use.
    #[error(transparent)]
    Certificates(#[from] TlsError),
    /// It refused, could not be found, or broke off.
    #[error("no answer from the management API at {url}")]
    Away { url: HttpUrl, source: Box<dyn std::error::Error + Send + Sync> },
    /// It did not answer in time.
    #[error("the management API at {url} did not answer within {} seconds", ANSWER_LIMIT.as_secs())]
    TimedOut { url: HttpUrl },
    /// It answered with something else than what was asked for.
    #[error("the management API at {url} answered {status} to {path}{}", advice(*status))]
    Refused { url: HttpUrl, path: String, status: StatusCode },
    /// It answered with what no RabbitMQ answers.
    #[error("the management API at {url} answered to {path} with what is not RabbitMQ's")]
    Foreign { url: HttpUrl, path: String, source: serde_json::Error },
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            ": is the login right, does the user have the tag `management` and a right in the virtual host?"
        }
        StatusCode::NOT_FOUND => ": is it RabbitMQ's, and is the virtual host there?",
        _ => "",
    }
}

impl Management {
    /// The API at `url`, asked about the virtual host of `amqp`. Connects to nothing yet.
    pub(super) fn new(url: &HttpUrl, amqp: &SecretUrl) -> Result<Self, ManagementError> {
        let parsed = url.server().url();
        let (host, port) = (parsed.host_str().unwrap_or_default(), parsed.port_or_known_default().unwrap_or_default());
        let base = format!("{}://{host}:{port}{}", parsed.scheme(), parsed.path().trim_end_matches('/'));
        let vhost = utf8_percent_encode(&amqp.server().uri().vhost, ESCAPED).to_string();
        let client = HttpClient::new(url)?;
        Ok(Self { url: url.clone(), base, vhost, authorization: authorization(url), client })
    }

    /// Everything that stands in the virtual host.
    pub(super) async fn show(&self) -> Result<VirtualHost, ManagementError> {
        let Overview { rabbitmq_version: version } = self.ask("/api/overview").await?;
        let vhost = &self.vhost;
        Ok(VirtualHost {
            version,
            exchanges: self.ask::<Vec<Exchange>>(&format!("/api/exchanges/{vhost}")).await?,
            queues: self.queues().await?,
            bindings: self.ask::<Vec<Binding>>(&format!("/api/bindings/{vhost}")).await?,
            policies: permitted(self.ask::<Vec<Policy>>(&format!("/api/policies/{vhost}")).await)?,
            operator_policies: permitted(self.ask::<Vec<Policy>>(&format!("/api/operator-policies/{vhost}")).await)?,
        })
    }

    /// The queues, with what they hold.
    pub(super) async fn queues(&self) -> Result<Vec<Queue>, ManagementError> {
        self.ask(&format!("/api/queues/{}{WITH_TOTALS}", self.vhost)).await
    }

    /// An exchange that leads to a queue, other than the default one, if there is any.
    pub(super) async fn leading_to(&self, queue: &str) -> Result<Option<String>, ManagementError> {
        let queue = utf8_percent_encode(queue, ESCAPED);
        let bindings: Vec<Binding> = self.ask(&format!("/api/queues/{}/{queue}/bindings", self.vhost)).await?;
        Ok(bindings.into_iter().map(|binding| binding.source).find(|source| !source.is_empty()))
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, ManagementError> {
        let answer = timeout(ANSWER_LIMIT, self.exchange(path)).await;
        let (status, body) = answer.map_err(|_| ManagementError::TimedOut { url: self.url.clone() })??;
        let (url, path) = (self.url.clone(), path.to_owned());
        if status != StatusCode::OK {
            return Err(ManagementError::Refused { url, path, status });
        }
        read(&body).map_err(|source| ManagementError::Foreign { url, path, source })
    }

    async fn exchange(&self, path: &str) -> Result<(StatusCode, Bytes), ManagementError> {
        let request = Request::get(format!("{}{path}", self.base)).header(AUTHORIZATION, self.authorization.clone());
        let request = request
            .body(Full::default())
            .map_err(|_| ManagementError::Url { url: self.url.clone(), path: path.to_owned() })?;
        let away = |source| ManagementError::Away { url: self.url.clone(), source };
        let answer = self.client.exchange(request, BODY_BYTES).await.map_err(away)?;
        Ok((answer.status(), answer.into_body()))
    }
}

/// RabbitMQ 4.0 says of a queue on several nodes which of them run, and then says it again. By way of a map the later
/// stands; read at once, a field that stands twice is an error.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_value(serde_json::from_slice(body)?)
}

/// Policies are shown to policymakers, those of operators to administrators. Who is neither does not see them.
fn permitted<T>(answer: Result<T, ManagementError>) -> Result<Option<T>, ManagementError> {
    match answer {
        Ok(shown) => Ok(Some(shown)),
        Err(ManagementError::Refused { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn authorization(url: &HttpUrl) -> HeaderValue {
    let (user, password) = url.server().login().unwrap_or_default();
    let login = format!("{user}:{password}");
    let value = format!("Basic {}", STANDARD.encode(login));
    let mut value = HeaderValue::try_from(value).expect("Base64 is printable ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_stands_twice_is_taken_as_it_stands_last() {
        let body = br#"[{"name":"loyalty.emails","durable":true,"online":["one"],"online":["two","one"]}]"#;
        let queues: Vec<Queue> = read(body).expect("a list of queues");
        assert_eq!(queues[0].online.as_deref(), Some(&["two".to_owned(), "one".to_owned()][..]));
    }
}
