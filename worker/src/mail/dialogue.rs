//! One connection to a mail server and what is said on it (RFC 5321): commands go out, replies come back.
//!
//! A reply's code decides, whatever its text is: bytes that are not UTF-8, as servers of another age send, are shown as
//! `U+FFFD` and nothing else. Who greets with `EHLO` and is not understood greets again with `HELO`.

use std::sync::Arc;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::commands::{Auth, Ehlo, Quit, Starttls};
use lettre::transport::smtp::extension::ClientId;
use loyalty_common::tls::Untrusted;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::outcome::Failure;
use super::reply::{self, Reply, Severity};
use super::server::{Security, Server};

/// What a connection runs over, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection on which we have been greeted.
pub(crate) struct Dialogue {
    stream: BufReader<Box<dyn Stream>>,
    offers: Offers,
}

/// What a server can do beyond the least, as far as we care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a server offers any of them, or none")]
pub(crate) struct Offers {
    starttls: bool,
    /// Addresses and headers beyond ASCII (RFC 6531).
    pub(crate) smtputf8: bool,
    plain: bool,
    login: bool,
}

/// More than any server asks of a login.
const CHALLENGES_MAX: usize = 10;

impl Dialogue {
    /// Connects, secures the connection as the server's URL wants it, and logs in.
    pub(crate) async fn begin(server: &Server, hello: &ClientId) -> Result<Self, Failure> {
        let stream = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        let stream: Box<dyn Stream> = match &server.security {
            Security::Implicit(tls) => Box::new(encrypted(stream, tls, server).await?),
            Security::Off | Security::Opportunistic(_) | Security::Required(_) => Box::new(stream),
        };
        let mut dialogue = Self { stream: BufReader::new(stream), offers: Offers::default() };
        dialogue.reply(Severity::Done).await?;
        dialogue.greet(hello).await?;
        let mut dialogue = dialogue.secured(server, hello).await?;
        if let Some(credentials) = &server.credentials {
            dialogue.log_in(credentials).await?;
        }
        Ok(dialogue)
    }

    /// What the server said it can do.
    pub(crate) fn offers(&self) -> Offers {
        self.offers
    }

    /// Says a command, its line's end included, and hears the answer.
    pub(crate) async fn command(
        &mut self,
        command: impl ToString + Send,
        expected: Severity,
    ) -> Result<Reply, Failure> {
        self.write(command.to_string().as_bytes()).await?;
        self.reply(expected).await
    }

    /// Hands an email's text over after `DATA`, and hears what becomes of it.
    pub(crate) async fn text(&mut self, text: &[u8]) -> Result<Reply, Failure> {
        self.write(&stuffed(text)).await?;
        self.reply(Severity::Done).await
    }

    /// Says goodbye.
    pub(crate) async fn quit(&mut self) -> Result<Reply, Failure> {
        self.command(Quit, Severity::Done).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)
    }

    async fn reply(&mut self, expected: Severity) -> Result<Reply, Failure> {
        reply::read(&mut self.stream).await?.expect(expected)
    }

    /// RFC 5321, 3.2: a server that does not know `EHLO` says so by a 5xx, and knows `HELO`. Codes for that are many
    /// (500, 501, 502, 504, 550); a server that refuses us for another reason refuses `HELO` too.
    async fn greet(&mut self, hello: &ClientId) -> Result<(), Failure> {
        self.offers = match self.command(Ehlo::new(hello.clone()), Severity::Done).await {
            Ok(reply) => Offers::of(&reply),
            Err(Failure::Refused { code, .. }) if code >= 500 => {
                self.command(format!("HELO {hello}\r\n"), Severity::Done).await?;
                Offers::default()
            }
            Err(failure) => return Err(failure),
        };
        Ok(())
    }

    async fn secured(mut self, server: &Server, hello: &ClientId) -> Result<Self, Failure> {
        let tls = match &server.security {
            Security::Off | Security::Implicit(_) => return Ok(self),
            Security::Opportunistic(_) if !self.offers.starttls && server.credentials.is_some() => {
                let error = "the server does not offer STARTTLS, and a password is not sent in the clear";
                return Err(Failure::Broken(error.to_owned()));
            }
            Security::Opportunistic(_) if !self.offers.starttls => return Ok(self),
            Security::Required(_) if !self.offers.starttls => {
                return Err(Failure::Broken("STARTTLS is required, and the server does not offer it".to_owned()));
            }
            Security::Opportunistic(tls) | Security::Required(tls) => tls,
        };
        self.command(Starttls, Severity::Done).await?;
        // Whoever stands between us and the server could have said it in the clear, to be heard as if encrypted.
        if !self.stream.buffer().is_empty() {
            return Err(Failure::Broken("the server said something in the clear after STARTTLS".to_owned()));
        }
        let stream: Box<dyn Stream> = Box::new(encrypted(self.stream.into_inner(), tls, server).await?);
        let mut secured = Self { stream: BufReader::new(stream), offers: Offers::default() };
        secured.greet(hello).await?;
        Ok(secured)
    }

    async fn log_in(&mut self, credentials: &Credentials) -> Result<(), Failure> {
        let mechanism = match self.offers {
            Offers { plain: true, .. } => Mechanism::Plain,
            Offers { login: true, .. } => Mechanism::Login,
            Offers { .. } => return Err(Failure::Broken("the server offers no login that we know".to_owned())),
        };
        let unfit = |error: lettre::transport::smtp::Error| Failure::Broken(error.to_string());
        let mut answer = Auth::new(mechanism, credentials.clone(), None).map_err(unfit)?;
        for _ in 0..CHALLENGES_MAX {
            let reply = self.said(answer).await?;
            if reply.severity() == Severity::Done {
                return Ok(());
            }
            let challenge = reply.as_challenge().map_err(unfit)?;
            answer = Auth::new_from_response(mechanism, credentials.clone(), &challenge).map_err(unfit)?;
        }
        Err(Failure::Broken("the server asks for more than a login takes".to_owned()))
    }

    /// The same as a command of which a 3xx asks for more.
    async fn said(&mut self, command: impl ToString + Send) -> Result<Reply, Failure> {
        self.write(command.to_string().as_bytes()).await?;
        reply::read(&mut self.stream).await?.accepted()
    }
}

impl Offers {
    /// The first line names the server; each of the others names something that it can do.
    fn of(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines().skip(1) {
            // Some write `AUTH=LOGIN`, as a draft had it.
            let line = line.to_ascii_uppercase();
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            match words.next() {
                Some("STARTTLS") => offers.starttls = true,
                Some("SMTPUTF8") => offers.smtputf8 = true,
                Some("AUTH") => {
                    for mechanism in words {
                        offers.plain |= mechanism == "PLAIN";
                        offers.login |= mechanism == "LOGIN";
                    }
                }
                Some(_) | None => {}
            }
        }
        offers
    }
}

/// A line that begins with a dot gets another (RFC 5321, 4.5.2), and a dot alone ends the text.
fn stuffed(text: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(text.len() + text.len() / 64 + 8);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    if !stuffed.ends_with(b"\r\n") {
        stuffed.extend_from_slice(b"\r\n");
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}

async fn encrypted<S: Stream>(
    stream: S,
    tls: &Arc<ClientConfig>,
    server: &Server,
) -> Result<impl Stream + use<S>, Failure> {
    let name = ServerName::try_from(server.host.clone())
        .map_err(|_| Failure::Broken(format!("{} is no name that a certificate can have", server.host)))?;
    let connecting = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
    // Of a certificate that is not believed it says what was expected.
    connecting.await.map_err(|error| match Untrusted::of(&error, &server.url) {
        Some(untrusted) => Failure::Broken(untrusted.to_string()),
        None => broken(error),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn broken(error: std::io::Error) -> Failure {
    Failure::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_offers_is_read_in_any_spelling() {
        let check = |lines: &[&str], expected: Offers| assert_eq!(Offers::of(&Reply::of(250, lines)), expected);
        check(&["starttls"], Offers::default());
        let all = Offers { starttls: true, smtputf8: true, plain: true, login: true };
        check(&["mx", "STARTTLS", "SMTPUTF8", "AUTH PLAIN LOGIN XOAUTH2"], all);
        check(&["mx", "StartTLS", "smtputf8", "auth=login Plain", "SIZE 1000", ""], all);
    }

    #[test]
    fn a_text_ends_with_a_dot_of_its_own_and_no_other() {
        let check = |text: &str, expected: &str| {
            assert_eq!(String::from_utf8(stuffed(text.as_bytes())).expect("UTF-8"), expected);
        };
        check("a\r\n.\r\n..b\r\n", "a\r\n..\r\n...b\r\n.\r\n");
        check(".", "..\r\n.\r\n");
        check("", "\r\n.\r\n");
    }
}
