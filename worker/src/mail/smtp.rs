//! The dialogue with the mail server, phase by phase, so that a failure is judged by what had been said.
//!
//! A bounded number of connections, each used for one email at a time and kept open for the next. Every wait has a
//! limit: a server that hangs holds its connections and nothing else.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::commands::{Data, Mail, Noop, Rcpt};
use lettre::transport::smtp::extension::{ClientId, MailBodyParameter, MailParameter};
use tokio::time::Instant;

use super::dialogue::{Dialogue, Offers};
use super::outcome::{Attempted, Failure, Note, Outcome, Phase, judge};
use super::reply::{Reply, Severity};
use super::sender::SenderStatus;
use super::server::Server;

/// Finding, reaching and greeting the server, TLS and login, all told. Servers that make strangers wait for their
/// greeting do so for seconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// Sender, recipient and leave to send the text, all told. RFC 5321 (4.5.3.2) grants a server minutes for each; one
/// that needs them is met again at the next attempt.
const ENVELOPE_LIMIT: Duration = Duration::from_secs(60);

/// An idle connection is used again within this time. Servers keep one open for five minutes (RFC 5321, 4.5.3.2.7).
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Whether a parked connection still lives: over a living one the answer takes a round trip.
const CHECK_LIMIT: Duration = Duration::from_secs(5);

/// Saying goodbye is politeness.
const QUIT_LIMIT: Duration = Duration::from_secs(1);

/// A mail server and the connections to it that wait for the next email.
pub(crate) struct Smtp {
    server: Server,
    hello: ClientId,
    /// From handing the text over to the answer.
    text_limit: Duration,
    parked: Mutex<Vec<Parked>>,
    /// Whether the server takes emails of our sender, as far as we know.
    sender: SenderStatus,
}

struct Parked {
    connection: Dialogue,
    since: Instant,
}

impl Smtp {
    pub(crate) fn new(server: Server, text_limit: Duration) -> Self {
        Self {
            server,
            hello: ClientId::default(),
            text_limit,
            parked: Mutex::default(),
            sender: SenderStatus::default(),
        }
    }

    pub(crate) fn host(&self) -> &str {
        &self.server.host
    }

    /// The longest that [`Smtp::send`] takes.
    pub(crate) fn longest(&self) -> Duration {
        CONNECT_LIMIT + ENVELOPE_LIMIT + self.text_limit + QUIT_LIMIT
    }

    /// Offers an email to the server. How many do so at once is the caller's bound.
    pub(crate) async fn send(&self, envelope: &Envelope, text: &[u8]) -> Attempted {
        let mut connection = match within(CONNECT_LIMIT, self.connected()).await {
            Ok(connection) => connection,
            Err(failure) => return judge(Phase::Connecting, &failure),
        };
        if let Err((phase, failure)) = self.offer(&mut connection, envelope).await {
            leave(connection, &failure).await;
            return judge(phase, &failure);
        }
        // From here on silence no longer means that nothing was sent.
        match within(self.text_limit, connection.text(text)).await {
            Ok(reply) => {
                self.park(connection);
                Attempted { outcome: Outcome::Sent, note: Note::new(&reply.said()) }
            }
            Err(failure) => {
                leave(connection, &failure).await;
                judge(Phase::Text, &failure)
            }
        }
    }

    /// A connection that greets and is logged in: one that waits, or a new one.
    async fn connected(&self) -> Result<Dialogue, Failure> {
        while let Some(Parked { mut connection, since }) = self.unpark() {
            let fresh = since.elapsed() < IDLE_MAX;
            let alive = async { fresh && connection.command(Noop, Severity::Done).await.is_ok() };
            if tokio::time::timeout(CHECK_LIMIT, alive).await.unwrap_or(false) {
                return Ok(connection);
            }
        }
        Dialogue::begin(&self.server, &self.hello).await
    }

    /// Sender, recipients and the request to send the text.
    async fn offer(&self, connection: &mut Dialogue, envelope: &Envelope) -> Result<(), (Phase, Failure)> {
        let deadline = Instant::now() + ENVELOPE_LIMIT;
        let parameters = parameters(envelope, connection.offers()).map_err(|failure| (Phase::Envelope, failure))?;
        let plain = parameters.is_empty();
        let mail = Mail::new(envelope.from().cloned(), parameters);
        let asked = until(deadline, connection.command(mail, Severity::Done)).await;
        let asked = asked.map_err(|failure| (phase_of_sender(&failure, plain), failure));
        self.sender.note(&asked);
        asked?;
        for recipient in envelope.to() {
            let asking = connection.command(Rcpt::new(recipient.clone(), Vec::new()), Severity::Done);
            until(deadline, asking).await.map_err(|failure| (Phase::Envelope, failure))?;
        }
        let asking = connection.command(Data, Severity::More);
        until(deadline, asking).await.map(drop).map_err(|failure| (Phase::Envelope, failure))
    }

    fn park(&self, connection: Dialogue) {
        self.parked().push(Parked { connection, since: Instant::now() });
    }

    fn unpark(&self) -> Option<Parked> {
        self.parked().pop()
    }

    fn parked(&self) -> std::sync::MutexGuard<'_, Vec<Parked>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our emails are ASCII by their encoding, and so are the domains by theirs: only the part of a member's address before
/// the `@` can ask for more than every server has.
fn parameters(envelope: &Envelope, offers: Offers) -> Result<Vec<MailParameter>, Failure> {
    if envelope.to().iter().all(|address| address.user().is_ascii()) {
        return Ok(Vec::new());
    }
    if !offers.smtputf8 {
        return Err(Failure::Impossible(
            "the mail server does not offer SMTPUTF8, without which the part of an address before the `@` must be ASCII",
        ));
    }
    Ok(vec![MailParameter::SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)])
}

/// What a failure of `MAIL FROM` is about: our sender, unless the email asked for more than others do and the server
/// refuses that (RFC 5321, 4.1.1.11; RFC 6531, 3.5).
fn phase_of_sender(failure: &Failure, plain: bool) -> Phase {
    const PARAMETER_CODES: [u16; 3] = [501, 504, 555];
    match failure {
        Failure::Refused { code, text } if !plain && (PARAMETER_CODES.contains(code) || text.starts_with("5.6.7")) => {
            Phase::Envelope
        }
        Failure::Refused { .. } | Failure::Broken(_) | Failure::TimedOut(_) | Failure::Impossible(_) => Phase::Sender,
    }
}

/// After a refusal the server still listens and is told goodbye; a broken connection is only dropped.
async fn leave(mut connection: Dialogue, failure: &Failure) {
    match failure {
        Failure::Refused { .. } | Failure::Impossible(_) => {
            // Whatever it answers, we are gone.
            let _ = tokio::time::timeout(QUIT_LIMIT, connection.quit()).await;
        }
        Failure::Broken(_) | Failure::TimedOut(_) => {}
    }
}

async fn within<T>(limit: Duration, step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(limit, step).await.unwrap_or(Err(Failure::TimedOut(limit)))
}

/// One step of those that share [`ENVELOPE_LIMIT`].
async fn until(deadline: Instant, step: impl Future<Output = Result<Reply, Failure>>) -> Result<Reply, Failure> {
    tokio::time::timeout_at(deadline, step).await.unwrap_or(Err(Failure::TimedOut(ENVELOPE_LIMIT)))
}
