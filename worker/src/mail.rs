//! The mailer: sends emails, and sees each to an end that is known or says that it is not.
//!
//! Read in this order: `session` takes deliveries, `handler` brings each to its outcome, `smtp` leads through the
//! `dialogue` with the mail server and `outcome` judges what it said; `templates` writes the email. A mail server that
//! is slow, down or wrong must never reach the points: all that connects the two is a queue.

mod dialogue;
mod handler;
mod mailbox;
mod metrics;
mod outcome;
mod persist_result;
mod rate_limiter;
mod reply;
mod retry_schedule;
mod sender;
mod server;
mod session;
mod settings;
mod smtp;
mod templates;

use std::sync::Arc;
use std::time::Duration;

use loyalty_common::publisher::Publisher;
use loyalty_common::secret::SecretUrl;
use loyalty_store::Pool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

pub use metrics::MailMetrics;
pub use retry_schedule::RetrySchedule;
pub use sender::SenderError;
pub use server::{MailServer, ServerError, SmtpUrl};
pub use settings::{MailSettings, OnUnknown, Template};
pub use templates::TemplatesError;

use crate::metrics::{Part, Reconnects};
use crate::queue_states::QueueStates;
use crate::supervise::supervise;
use handler::MailHandler;
use rate_limiter::RateLimiter;
use server::Server;
use session::Session;
use smtp::Smtp;
use templates::Templates;

/// Deliveries in flight for each connection to the mail server: one that is being sent, one that is ready when it is.
const PREFETCH_PER_CONNECTION: u16 = 2;

/// How long a stopping mailer may finish what it is sending. An email that takes longer may have been delivered or not.
const DRAIN: Duration = Duration::from_secs(20);

/// Sends emails. Made once a process.
pub struct Mailer {
    /// None: no mail server is set.
    handler: Option<Arc<MailHandler>>,
    prefetch: u16,
}

/// Why there can be no mailer with these settings.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    /// The mail server's address.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The sender or the templates.
    #[error(transparent)]
    Templates(#[from] TemplatesError),
}

impl MailSettings {
    /// Whether emails can be made and sent as the settings say. Connects to nothing.
    pub fn check(&self) -> Result<(), MailerError> {
        Templates::new(self)?;
        self.smtp.as_ref().map(Server::new).transpose()?;
        Ok(())
    }
}

impl Mailer {
    /// Checks the settings, templates included. Connects to nothing.
    pub fn new(
        settings: &MailSettings,
        pool: Pool,
        publisher: Publisher,
        metrics: MailMetrics,
    ) -> Result<Self, MailerError> {
        let templates = Templates::new(settings)?;
        let prefetch = u16::from(settings.connections.get()) * PREFETCH_PER_CONNECTION;
        let Some(url) = &settings.smtp else {
            return Ok(Self { handler: None, prefetch });
        };
        let handler = MailHandler {
            pool,
            publisher,
            smtp: Smtp::new(Server::new(url)?, settings.answer),
            templates,
            retry_schedule: settings.retry_delays.clone(),
            rate_limiter: RateLimiter::new(settings.connections, settings.per_second),
            on_unknown: settings.on_unknown,
            metrics,
        };
        Ok(Self { handler: Some(Arc::new(handler)), prefetch })
    }

    /// Sends emails until `shutdown`, then finishes those that are being sent.
    pub async fn run(self, amqp: SecretUrl, reconnects: Reconnects, states: QueueStates, shutdown: CancellationToken) {
        let Some(handler) = &self.handler else {
            warn!("No mail server is configured; emails wait in their queue");
            return;
        };
        let at_work = TaskTracker::new();
        let session = Session { amqp: &amqp, handler, prefetch: self.prefetch, at_work: &at_work, states: &states };
        let work = async {
            supervise(Part::Mailer, &reconnects, &shutdown, |progress| session.run(&shutdown, progress)).await;
            at_work.close();
            at_work.wait().await;
        };
        let overdue = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            () = work => {}
            () = overdue => warn!(emails = at_work.len(), "Stopped while emails were being sent; their delivery is unknown"),
        }
    }
}
