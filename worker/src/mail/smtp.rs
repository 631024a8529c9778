//! The dialogue with the mail server, phase by phase, so that a failure is judged by what had been said.
//!
//! A bounded number of connections, each used for one mail at a time and kept open for the next. Every wait has a
//! limit: a server that hangs holds its connections and nothing else.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::Address;
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Quit, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use loyalty_common::tls::Untrusted;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::outcome::{Failure, Note, Outcome, Phase, judge};
use super::server::{Security, Server};

/// Finding, reaching and greeting the server, TLS and login, all told. Servers that make strangers wait for their
/// greeting do so for seconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// Sender, recipient and leave to send the text, all told. RFC 5321 (4.5.3.2) grants a server minutes for each; one
/// that needs them is met again on the retry ladder.
const ENVELOPE_LIMIT: Duration = Duration::from_secs(60);

/// An idle connection is used again within this time. Servers keep one open for five minutes (RFC 5321, 4.5.3.2.7).
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Whether a parked connection still lives: over a living one the answer takes a round trip.
const CHECK_LIMIT: Duration = Duration::from_secs(5);

/// Saying goodbye is politeness.
const QUIT_LIMIT: Duration = Duration::from_secs(1);

/// A mail server and the connections to it that wait for the next mail.
pub(crate) struct Smtp {
    server: Server,
    hello: ClientId,
    /// From handing the text over to the answer.
    text_limit: Duration,
    parked: Mutex<Vec<Parked>>,
}

struct Parked {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl Smtp {
    pub(crate) fn new(server: Server, text_limit: Duration) -> Self {
        Self { server, hello: ClientId::default(), text_limit, parked: Mutex::default() }
    }

    /// Where it is.
    pub(crate) fn host(&self) -> &str {
        &self.server.host
    }

    /// The longest that [`Smtp::send`] takes.
    pub(crate) fn longest(&self) -> Duration {
        CONNECT_LIMIT + ENVELOPE_LIMIT + self.text_limit + QUIT_LIMIT
    }

    /// Offers a mail to the server. How many do so at once is the caller's bound.
    pub(crate) async fn send(&self, envelope: &Envelope, text: &[u8]) -> Outcome {
        let mut connection = match within(CONNECT_LIMIT, self.connected()).await {
            Ok(connection) => connection,
            Err(failure) => return judge(Phase::Connecting, &failure),
        };
        if let Err(failure) = within(ENVELOPE_LIMIT, offer(&mut connection, envelope)).await {
            leave(connection, &failure).await;
            return judge(Phase::Envelope, &failure);
        }
        // From here on silence no longer means that nothing was sent.
        match within(self.text_limit, async { Ok(connection.message(text).await?) }).await {
            Ok(response) => {
                self.park(connection);
                Outcome::Sent(Note::new(&said(&response)))
            }
            Err(failure) => {
                leave(connection, &failure).await;
                judge(Phase::Text, &failure)
            }
        }
    }

    /// A connection that greets and is logged in: one that waits, or a new one.
    async fn connected(&self) -> Result<AsyncSmtpConnection, Failure> {
        while let Some(Parked { mut connection, since }) = self.unpark() {
            let fresh = since.elapsed() < IDLE_MAX;
            let alive = async { fresh && connection.test_connected().await };
            if tokio::time::timeout(CHECK_LIMIT, alive).await.unwrap_or(false) {
                return Ok(connection);
            }
        }
        let mut connection = self.connect().await?;
        if let Some(credentials) = &self.server.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let Server { host, port, security, .. } = &self.server;
        let address = (host.as_str(), *port);
        if let Security::Implicit(tls) = security {
            let (limit, tls) = (Some(CONNECT_LIMIT), Some(tls.clone()));
            let connecting = AsyncSmtpConnection::connect_tokio1(address, limit, &self.hello, tls, None);
            return connecting.await.map_err(|error| self.failure(error));
        }
        let stream = TcpStream::connect(address).await.map_err(|error| Failure::Broken(error.to_string()))?;
        // The text and the line that ends it are written apart; without this the second waits 40 ms for the first.
        stream.set_nodelay(true).map_err(|error| Failure::Broken(error.to_string()))?;
        let mut connection = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.hello).await?;
        match security {
            Security::Opportunistic(tls) if connection.can_starttls() => {
                connection.starttls(tls.clone(), &self.hello).await.map_err(|error| self.failure(error))?;
            }
            Security::Required(tls) => {
                connection.starttls(tls.clone(), &self.hello).await.map_err(|error| self.failure(error))?;
            }
            Security::Opportunistic(_) | Security::Implicit(_) | Security::Off => {}
        }
        Ok(connection)
    }

    /// What went wrong with TLS. Of a certificate that is not believed it says what was expected.
    fn failure(&self, error: lettre::transport::smtp::Error) -> Failure {
        let untrusted = Untrusted::of(&error, &self.server.url);
        untrusted.map_or_else(|| error.into(), |untrusted| Failure::Broken(untrusted.to_string()))
    }

    fn park(&self, connection: AsyncSmtpConnection) {
        self.parked().push(Parked { connection, since: Instant::now() });
    }

    fn unpark(&self) -> Option<Parked> {
        self.parked().pop()
    }

    fn parked(&self) -> std::sync::MutexGuard<'_, Vec<Parked>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sender, recipients and the request to send the text. Our mails are ASCII by their encoding, so only an address can
/// ask for more than every server has.
async fn offer(connection: &mut AsyncSmtpConnection, envelope: &Envelope) -> Result<(), Failure> {
    let mut parameters = Vec::new();
    let ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    if !envelope.to().iter().chain(envelope.from()).all(ascii) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Failure::Impossible("the mail server does not take addresses beyond ASCII"));
        }
        parameters.push(MailParameter::SmtpUtfEight);
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    connection.command(Mail::new(envelope.from().cloned(), parameters)).await?;
    for recipient in envelope.to() {
        connection.command(Rcpt::new(recipient.clone(), Vec::new())).await?;
    }
    connection.command(Data).await?;
    Ok(())
}

/// After a refusal the server still listens and is told goodbye; a broken connection is only dropped.
async fn leave(mut connection: AsyncSmtpConnection, failure: &Failure) {
    match failure {
        Failure::Refused { .. } | Failure::Impossible(_) => {
            // Whatever it answers, we are gone.
            let _ = tokio::time::timeout(QUIT_LIMIT, connection.command(Quit)).await;
        }
        Failure::Broken(_) | Failure::TimedOut(_) => {}
    }
}

async fn within<T>(limit: Duration, step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(limit, step).await.unwrap_or(Err(Failure::TimedOut(limit)))
}

fn said(response: &Response) -> String {
    format!("{} {}", response.code(), response.message().collect::<Vec<_>>().join(" "))
}

impl From<lettre::transport::smtp::Error> for Failure {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        match error.status() {
            Some(code) => Self::Refused { code: code.into(), text: cause.unwrap_or_default() },
            None => Self::Broken(error.to_string()),
        }
    }
}
