//! A real SMTP server that keeps what it is sent, and can be told to behave badly.
//!
//! `loyalty dev` writes its emails to a directory; tests read them from memory and switch its [`Behaviour`]. It never
//! forwards anything.

mod message;
mod session;

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::TcpStream,
    sync::{Semaphore, watch},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::toggle_listener::ToggleListener;
pub use message::Email;
use session::Session;

/// A mailer keeps a handful of connections; a test that loses count is turned away.
const CONNECTIONS_MAX: usize = 256;

/// The newest emails are kept in memory, one or two kilobytes each; a directory keeps all of them.
const EMAILS_MAX: usize = 10_000;

/// What the server does with the emails it is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes each email.
    Accept,
    /// The port is closed, and open connections are cut.
    RefuseConnection,
    /// Answers 451 to each recipient.
    TransientAtRcpt,
    /// Answers 550 to recipients of this domain, and takes all others.
    PermanentForDomain(String),
    /// Takes and keeps the email and never says so: the worst case, where the sender cannot know.
    HangAfterData,
    /// Answers 451 to the email itself and does not keep it.
    TransientAfterData,
    /// Takes each email, and answers only after this long.
    Slow(Duration),
}

/// Why the mailbox could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    /// Its directory could not be made.
    #[error("cannot keep emails in {}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    /// Its port could not be opened or closed.
    #[error("cannot open the mailbox's port")]
    Port(#[source] io::Error),
}

/// A running mailbox. Dropping it closes the port and all connections.
#[derive(Debug)]
pub struct Mailbox {
    listener: ToggleListener,
    shelf: Arc<Shelf>,
    _close: DropGuard,
}

impl Mailbox {
    /// Starts on a free port. Emails are also written to `dir`, if there is one, as `*.eml`.
    pub async fn start(dir: Option<&Path>) -> Result<Self, MailboxError> {
        Self::start_on(None, dir).await
    }

    /// Starts on `port`, or on a free one.
    pub async fn start_on(port: Option<u16>, dir: Option<&Path>) -> Result<Self, MailboxError> {
        if let Some(path) = dir {
            message::directory(path).map_err(|source| MailboxError::Directory { path: path.to_path_buf(), source })?;
        }
        let shelf = Arc::new(Shelf::new(dir.map(Path::to_path_buf)));
        let closing = CancellationToken::new();
        let welcome = welcome(Arc::clone(&shelf), closing.clone());
        let listener = ToggleListener::open(port, welcome).await.map_err(MailboxError::Port)?;
        Ok(Self { listener, shelf, _close: closing.drop_guard() })
    }

    pub fn addr(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The same for a mailer's settings: no TLS, no password.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.addr())
    }

    /// Changes the behaviour, from the next command of each connection on. When this returns, the port is open or
    /// closed as the behaviour wants it.
    pub async fn set(&self, behaviour: Behaviour) -> Result<(), MailboxError> {
        let open = behaviour != Behaviour::RefuseConnection;
        self.shelf.behaviour.send_replace(behaviour);
        self.listener.set_open(open).await.map_err(MailboxError::Port)
    }

    /// The emails kept in memory, the oldest first: all of them up to a limit of ten thousand.
    pub fn emails(&self) -> Vec<Email> {
        self.shelf.emails().iter().cloned().collect()
    }

    /// How many emails were taken since the start. The receiver tells of each new one.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.shelf.count.subscribe()
    }

    /// Waits until at least `count` emails were taken since the start, and answers what [`Mailbox::emails`] does. It
    /// has no deadline of its own.
    pub async fn wait_for(&self, count: usize) -> Vec<Email> {
        let mut taken = self.count();
        // The sender lives as long as we do.
        let _ = taken.wait_for(|taken| *taken >= count).await;
        self.emails()
    }
}

/// Gives each visitor a session of its own, until the mailbox closes.
fn welcome(shelf: Arc<Shelf>, closing: CancellationToken) -> impl FnMut(TcpStream) + Send + 'static {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    move |stream| {
        // No place: dropping the connection is the answer.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { return };
        let session = Session::new(stream, Arc::clone(&shelf));
        let closing = closing.clone();
        tokio::spawn(async move {
            closing.run_until_cancelled(session.run()).await;
            drop(place);
        });
    }
}

/// What the sessions share.
#[derive(Debug)]
struct Shelf {
    dir: Option<PathBuf>,
    behaviour: watch::Sender<Behaviour>,
    count: watch::Sender<usize>,
    emails: Mutex<VecDeque<Email>>,
    /// The number of the next file.
    files: AtomicU64,
}

impl Shelf {
    fn new(dir: Option<PathBuf>) -> Self {
        Self {
            dir,
            behaviour: watch::Sender::new(Behaviour::Accept),
            count: watch::Sender::new(0),
            emails: Mutex::default(),
            files: AtomicU64::new(1),
        }
    }

    fn emails(&self) -> MutexGuard<'_, VecDeque<Email>> {
        self.emails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an email: on disk first, if there is a directory, then where tests see it.
    async fn keep(&self, email: Email) -> io::Result<()> {
        if let Some(dir) = &self.dir {
            let number = self.files.fetch_add(1, Ordering::Relaxed);
            message::write(dir, &email, number).await?;
        }
        let mut emails = self.emails();
        if emails.len() == EMAILS_MAX {
            emails.pop_front();
        }
        emails.push_back(email);
        // Told while the list is held, so that who sees the count sees the email.
        self.count.send_modify(|count| *count += 1);
        Ok(())
    }
}
