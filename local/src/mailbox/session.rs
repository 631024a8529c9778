//! One SMTP connection: commands in, answers out (RFC 5321, as much of it as a mailer uses).
//!
//! One recipient an email: a second one is told to come again in an email of its own, as the standard allows.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use super::{Behaviour, Email, Shelf};

/// The standard promises 1000 for a line of text; some headers are longer.
const LINE_BYTES_MAX: u64 = 8 * 1024;

/// Our emails are some kilobytes. Announced to the client as SIZE.
const MAIL_BYTES_MAX: usize = 1024 * 1024;

/// A client that says nothing is left after this long, as the standard recommends.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// What follows an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Go,
    Close,
}

/// How the reading of an email's text ended.
enum Data {
    Whole(Vec<u8>),
    TooLarge,
}

pub(super) struct Session {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    shelf: Arc<Shelf>,
    behaviour: watch::Receiver<Behaviour>,
    greeted_sender: bool,
    recipient: Option<String>,
}

impl Session {
    pub(super) fn new(stream: TcpStream, shelf: Arc<Shelf>) -> Self {
        let (reader, writer) = stream.into_split();
        let behaviour = shelf.behaviour.subscribe();
        Self { reader: BufReader::new(reader), writer, shelf, behaviour, greeted_sender: false, recipient: None }
    }

    /// Serves the client until it leaves, or until the mailbox refuses connections.
    pub(super) async fn run(mut self) {
        let mut behaviour = self.behaviour.clone();
        let refused = behaviour.wait_for(|now| *now == Behaviour::RefuseConnection);
        tokio::select! {
            biased;
            _ = refused => {}
            end = self.serve() => if let Err(error) = end {
                tracing::debug!(%error, "A mail connection broke");
            }
        }
    }

    async fn serve(&mut self) -> io::Result<()> {
        self.say("220 mailbox.localhost ESMTP").await?;
        loop {
            let line = tokio::time::timeout(IDLE_LIMIT, self.line()).await??;
            let then = match line {
                None => return Ok(()),
                Some(line) if !line.ends_with(b"\n") => {
                    self.say("500 5.5.2 line too long").await?;
                    Then::Close
                }
                Some(line) => self.obey(&String::from_utf8_lossy(&line)).await?,
            };
            if then == Then::Close {
                return Ok(());
            }
        }
    }

    async fn obey(&mut self, line: &str) -> io::Result<Then> {
        let line = line.trim_end();
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => self.ehlo().await?,
            "HELO" => self.say("250 mailbox.localhost").await?,
            "MAIL" => self.mail().await?,
            "RCPT" => self.rcpt(rest).await?,
            "DATA" => return self.data().await,
            "RSET" => {
                self.reset();
                self.say("250 2.0.0 forgotten").await?;
            }
            "NOOP" => self.say("250 2.0.0 still here").await?,
            "QUIT" => {
                self.say("221 2.0.0 goodbye").await?;
                return Ok(Then::Close);
            }
            _ => self.say("500 5.5.1 unknown command").await?,
        }
        Ok(Then::Go)
    }

    async fn ehlo(&mut self) -> io::Result<()> {
        self.say(&format!("250-mailbox.localhost\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE {MAIL_BYTES_MAX}")).await
    }

    async fn mail(&mut self) -> io::Result<()> {
        self.reset();
        self.greeted_sender = true;
        self.say("250 2.1.0 sender noted").await
    }

    async fn rcpt(&mut self, rest: &str) -> io::Result<()> {
        let address = rest.split_once('<').and_then(|(_, address)| address.split_once('>'));
        let answer = match address {
            _ if !self.greeted_sender => "503 5.5.1 MAIL first",
            _ if self.recipient.is_some() => "452 4.5.3 one recipient a mail",
            None => "501 5.1.3 an address in angle brackets, please",
            Some((address, _)) => self.note_recipient(address),
        };
        self.say(answer).await
    }

    fn note_recipient(&mut self, address: &str) -> &'static str {
        if let Some(refusal) = refusal_at_rcpt(&self.now(), address) {
            return refusal;
        }
        self.recipient = Some(address.to_owned());
        "250 2.1.5 recipient noted"
    }

    async fn data(&mut self) -> io::Result<Then> {
        let Some(recipient) = self.recipient.clone() else {
            self.say("503 5.5.1 RCPT first").await?;
            return Ok(Then::Go);
        };
        self.say("354 end with a dot").await?;
        let raw = match tokio::time::timeout(IDLE_LIMIT, self.text()).await?? {
            Data::Whole(raw) => raw,
            Data::TooLarge => {
                self.say("552 5.3.4 mail too large").await?;
                return Ok(Then::Close);
            }
        };
        self.reset();
        self.settle(Email::new(recipient, raw)).await
    }

    /// The one place where an email's outcome is decided.
    async fn settle(&mut self, email: Email) -> io::Result<Then> {
        match self.now() {
            Behaviour::Accept | Behaviour::TransientAtRcpt | Behaviour::PermanentForDomain(_) => {
                self.keep(email).await?;
            }
            Behaviour::Slow(pause) => {
                tokio::time::sleep(pause).await;
                self.keep(email).await?;
            }
            Behaviour::TransientAfterData => self.say("451 4.3.0 try again later").await?,
            Behaviour::HangAfterData => {
                self.shelf.keep(email).await?;
                self.hang().await;
                return Ok(Then::Close);
            }
            Behaviour::RefuseConnection => return Ok(Then::Close),
        }
        Ok(Then::Go)
    }

    async fn keep(&mut self, email: Email) -> io::Result<()> {
        match self.shelf.keep(email).await {
            Ok(()) => self.say("250 2.0.0 kept").await,
            Err(error) => {
                tracing::warn!(%error, "An email could not be written");
                self.say("452 4.3.1 the mail could not be written").await
            }
        }
    }

    /// Says nothing until the client gives up or the behaviour changes.
    async fn hang(&mut self) {
        tokio::select! {
            _ = self.behaviour.wait_for(|now| *now != Behaviour::HangAfterData) => {}
            _ = self.reader.read_u8() => {}
        }
    }

    /// The lines up to the one that is a single dot. A doubled dot at a line's beginning stands for one.
    async fn text(&mut self) -> io::Result<Data> {
        let mut raw = Vec::new();
        let mut whole_line_before = true;
        loop {
            let line = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            // Only after CR LF: a lone LF ends no line, or one email could smuggle in another.
            if whole_line_before && line == b".\r\n" {
                return Ok(Data::Whole(raw));
            }
            let stuffed = whole_line_before && line.starts_with(b".");
            raw.extend_from_slice(&line[usize::from(stuffed)..]);
            whole_line_before = line.ends_with(b"\r\n");
            if raw.len() > MAIL_BYTES_MAX || !line.ends_with(b"\n") {
                return Ok(Data::TooLarge);
            }
        }
    }

    /// A line with its end, or the part of it that is allowed, or nothing if the client has left.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let length = (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
        Ok((length > 0).then_some(line))
    }

    async fn say(&mut self, answer: &str) -> io::Result<()> {
        self.writer.write_all(format!("{answer}\r\n").as_bytes()).await
    }

    fn now(&self) -> Behaviour {
        self.behaviour.borrow().clone()
    }

    fn reset(&mut self) {
        self.greeted_sender = false;
        self.recipient = None;
    }
}

/// What is said to a recipient that the behaviour turns away.
fn refusal_at_rcpt(behaviour: &Behaviour, address: &str) -> Option<&'static str> {
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    match behaviour {
        Behaviour::TransientAtRcpt => Some("451 4.2.0 try again later"),
        Behaviour::PermanentForDomain(refused) if refused.eq_ignore_ascii_case(domain) => {
            Some("550 5.1.1 no such recipient")
        }
        Behaviour::PermanentForDomain(_)
        | Behaviour::Accept
        | Behaviour::RefuseConnection
        | Behaviour::HangAfterData
        | Behaviour::TransientAfterData
        | Behaviour::Slow(_) => None,
    }
}
