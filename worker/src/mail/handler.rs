//! One request for an email, from its delivery to its outcome.
//!
//! An email is claimed before it is sent and settled after; what was claimed is never given up half way, whatever
//! becomes of the session that delivered it. Which attempt it is, and so which delay comes next, is read from the
//! email's row and never from the message: of a message there may be two.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use loyalty_common::envelope::{PERSISTENT, TraceContext};
use loyalty_common::error_chain::chain;
use loyalty_common::publisher::{Confirmed, Message, PublishError, Publisher};
use loyalty_common::topology::{self, RetryDelay};
use loyalty_common::traces::{Kind, Span, messaging};
use loyalty_store::dead_letters::{self, NewDeadLetter, Reason};
use loyalty_store::emails::{self, Claim, ClaimError, ClaimedEmail, EmailId};
use loyalty_store::{Pool, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::metrics::MailMetrics;
use super::outcome::{Attempted, Note, Outcome};
use super::persist_result::persist_result;
use super::rate_limiter::RateLimiter;
use super::retry_schedule::RetrySchedule;
use super::settings::OnUnknown;
use super::smtp::Smtp;
use super::templates::{ComposeError, Templates};
use crate::dead_letter::dead_letter;
use crate::headers;

/// What a delivery is handled with. Shared by all sessions, so that its bounds hold for all of them together.
pub(crate) struct MailHandler {
    pub(crate) pool: Pool,
    pub(crate) publisher: Publisher,
    pub(crate) smtp: Smtp,
    pub(crate) templates: Templates,
    pub(crate) retry_schedule: RetrySchedule,
    pub(crate) rate_limiter: RateLimiter,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) metrics: MailMetrics,
}

/// A request for an email, as it came.
struct EmailRequest {
    delivery: Delivery,
    /// How it is told of in its trace.
    span: Span,
}

/// Whether the broker may forget a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It may: its outcome is in the database, or it travels on under another message.
    Done,
    /// It may not: the session ended before its turn came.
    NotBegun,
}

/// Why a delivery could not be brought to its end. It comes again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliveryError {
    #[error("could not read or write an email's state")]
    Store(#[from] StoreError),
    #[error("could not publish an email to its retry queue")]
    Publish(#[from] PublishError),
}

/// A claim lasts as long as an attempt may take and this much more, for writing what became of it.
const LEASE_MARGIN: Duration = Duration::from_secs(60);

/// The attempts made when the message was published; for people who look at a queue.
const ATTEMPT_HEADER: &str = "x-loyalty-attempt";

impl MailHandler {
    /// Brings one delivery to its outcome. `leave` ends the wait for a turn, and nothing after it.
    pub(crate) async fn handle(
        self: Arc<Self>,
        delivery: Delivery,
        leave: CancellationToken,
    ) -> Result<Handled, DeliveryError> {
        let mut request = EmailRequest::new(delivery);
        let handled = self.see_off(&mut request, &leave).await;
        match &handled {
            Ok(Handled::Done) => request.span.end(),
            // Given up, as far as this delivery goes.
            Ok(Handled::NotBegun) => {}
            Err(error) => request.span.fails(&"not_handled", &chain(error)),
        }
        handled
    }

    async fn see_off(&self, request: &mut EmailRequest, leave: &CancellationToken) -> Result<Handled, DeliveryError> {
        let email_id = match emails::request::decode(&request.delivery.data) {
            Ok(email_id) => email_id,
            Err(problem) => return self.set_aside(request, None, &problem.to_string()).await,
        };
        request.span.says("loyalty.email.id", &email_id);
        let Some(turn) = leave.run_until_cancelled(self.rate_limiter.turn()).await else {
            return Ok(Handled::NotBegun);
        };
        match self.claim(email_id).await? {
            Claim::Ours(email) => {
                let attempted = self.attempt(&email, request).await;
                // The server is done with us: the next may go while this one is written down.
                drop(turn);
                self.metrics.attempted(attempted.outcome, email.content.kind());
                self.settle(&email, &attempted, request).await
            }
            Claim::Later(wait) => {
                debug!(email.id = %email_id, "An email came before its time");
                let attempts = headers::integer(&request.delivery.properties, ATTEMPT_HEADER).unwrap_or_default();
                self.publish_retry(self.retry_schedule.within(wait), email_id, attempts, request).await
            }
            Claim::Abandoned => {
                warn!(email.id = %email_id, "A mailer ended while it was sending; the email's delivery is unknown");
                request.span.fails(&"abandoned", &"a mailer ended while it was sending");
                Ok(Handled::Done)
            }
            Claim::Settled(state) => {
                debug!(email.id = %email_id, %state, "Ignored a repeated request for a settled email");
                Ok(Handled::Done)
            }
            Claim::Missing => self.set_aside(request, Some(email_id), "there is no such email").await,
        }
    }

    /// A claim whose answer is lost is taken back before anything else: left standing, it would keep the email from
    /// everybody until its lease is over, and make it one whose delivery is unknown then, though nobody has sent it.
    /// Then it has failed like any other: the request comes again.
    async fn claim(&self, email_id: EmailId) -> Result<Claim, StoreError> {
        let resend = self.on_unknown == OnUnknown::Resend;
        match emails::claim(&self.pool, email_id, self.lease(), resend).await {
            Ok(claim) => Ok(claim),
            Err(ClaimError::Store(error)) => Err(error),
            Err(ClaimError::InDoubt { claim, source }) => {
                warn!(email.id = %email_id, error = chain(&source), "The answer to an email's claim was lost");
                persist_result(|_| emails::take_back(&self.pool, claim)).await?;
                Err(source)
            }
        }
    }

    fn lease(&self) -> Duration {
        self.smtp.longest() + LEASE_MARGIN
    }

    async fn attempt(&self, email: &ClaimedEmail, request: &EmailRequest) -> Attempted {
        let mut span = Span::within(Kind::Client, format_args!("send email"), request.span.context().cloned());
        span.says("server.address", &self.smtp.host());
        span.says("loyalty.email.id", &email.attempt.email_id);
        span.says("loyalty.email.kind", &email.content.kind());
        span.counts("loyalty.email.attempt", email.attempt.number);
        let attempted = self.offer(email).await;
        let Attempted { outcome, note } = &attempted;
        span.says("loyalty.email.outcome", outcome);
        match outcome {
            Outcome::Sent => {}
            Outcome::Passing | Outcome::SenderRefused | Outcome::Permanent | Outcome::Unknown => {
                span.fails(outcome, note);
            }
        }
        span.end();
        attempted
    }

    async fn offer(&self, email: &ClaimedEmail) -> Attempted {
        let error = match self.templates.compose(email, SystemTime::now()) {
            Ok(message) => return self.smtp.send(message.envelope(), &message.formatted()).await,
            Err(error) => error,
        };
        let outcome = match &error {
            ComposeError::Address(_) => Outcome::Permanent,
            // The shop's own doing, which may be fixed before the schedule ends.
            ComposeError::Template(_) | ComposeError::Form(_) => Outcome::Passing,
        };
        Attempted { outcome, note: Note::new(&chain(&error)) }
    }

    /// Every outcome, and what follows from it.
    async fn settle(
        &self,
        email: &ClaimedEmail,
        Attempted { outcome, note: why }: &Attempted,
        request: &mut EmailRequest,
    ) -> Result<Handled, DeliveryError> {
        let (pool, attempt, kind) = (&self.pool, email.attempt, email.content.kind());
        let (id, number) = (attempt.email_id, attempt.number);
        match outcome {
            Outcome::Sent => {
                persist_result(|_| emails::sent(pool, attempt, why.as_str())).await?;
                debug!(email.id = %id, email.kind = %kind, attempt = number, trace.id = request.trace_id(), reply = %why, "Sent an email");
                Ok(Handled::Done)
            }
            Outcome::Passing => self.retry(email, self.retry_schedule.after(attempt.step), why, request).await,
            Outcome::SenderRefused => {
                self.retry(email, Some(self.retry_schedule.after_or_last(attempt.step)), why, request).await
            }
            Outcome::Permanent => self.bury(email, Reason::EmailRejected, why, request).await,
            Outcome::Unknown => match self.on_unknown {
                OnUnknown::Resend => self.retry(email, self.retry_schedule.after(attempt.step), why, request).await,
                OnUnknown::Hold => {
                    persist_result(|_| emails::unknown(pool, attempt, why.as_str())).await?;
                    request.span.fails(outcome, why);
                    warn!(email.id = %id, email.kind = %kind, attempt = number, trace.id = request.trace_id(), %why, "An email's delivery is unknown; it is held for an operator");
                    Ok(Handled::Done)
                }
            },
        }
    }

    /// The next delay, or the end of the schedule. First the row, then the message, then (by the caller) the
    /// acknowledgement: whatever is lost in between, a message remains that asks for this email.
    async fn retry(
        &self,
        email: &ClaimedEmail,
        delay: Option<RetryDelay>,
        why: &Note,
        request: &mut EmailRequest,
    ) -> Result<Handled, DeliveryError> {
        let Some(delay) = delay else {
            return self.bury(email, Reason::EmailExhausted, why, request).await;
        };
        let (pool, attempt, wait) = (&self.pool, email.attempt, delay.wait());
        if !persist_result(|_| emails::retry_after(pool, attempt, wait, why.as_str())).await? {
            // Somebody began another attempt, by a message of their own, which carries the email on.
            return Ok(Handled::Done);
        }
        let (id, kind, number) = (attempt.email_id, email.content.kind(), attempt.number);
        info!(email.id = %id, email.kind = %kind, attempt = number, trace.id = request.trace_id(), %delay, %why, "An email waits for its next attempt");
        self.publish_retry(delay, id, i64::from(number), request).await
    }

    /// The email will not be sent; an operator finds it among the dead letters.
    async fn bury(
        &self,
        email: &ClaimedEmail,
        reason: Reason,
        why: &Note,
        request: &mut EmailRequest,
    ) -> Result<Handled, DeliveryError> {
        let attempt = email.attempt;
        let dead_letter = about(Some(attempt.email_id), &request.delivery, reason, why.as_str());
        let pool = &self.pool;
        let once_more = |repeated| NewDeadLetter { repeated: dead_letter.repeated || repeated, ..dead_letter.clone() };
        persist_result(|repeated| emails::dead(pool, attempt, why.as_str(), once_more(repeated))).await?;
        let (id, kind, number) = (attempt.email_id, email.content.kind(), attempt.number);
        request.span.fails(&reason, why);
        warn!(email.id = %id, email.kind = %kind, attempt = number, trace.id = request.trace_id(), %reason, %why, "Dead-lettered an email");
        Ok(Handled::Done)
    }

    /// A request that leads to no email.
    async fn set_aside(
        &self,
        request: &mut EmailRequest,
        email_id: Option<EmailId>,
        why: &str,
    ) -> Result<Handled, DeliveryError> {
        let dead_letter = about(email_id, &request.delivery, Reason::EmailUnreadable, why);
        dead_letters::keep(&self.pool, &[dead_letter]).await?;
        request.span.fails(&Reason::EmailUnreadable, &why);
        warn!(why, "Dead-lettered a message that asks for no email");
        Ok(Handled::Done)
    }

    /// A retry queue that was removed while we run takes nothing. The email then waits in a shorter one, comes too
    /// early, and waits again.
    async fn publish_retry(
        &self,
        delay: RetryDelay,
        email_id: EmailId,
        attempts: i64,
        request: &EmailRequest,
    ) -> Result<Handled, DeliveryError> {
        let mut result = Ok(Handled::Done);
        for delay in self.retry_schedule.down_from(delay) {
            match self.publisher.publish(retry_message(delay, email_id, attempts, request.span.context())).await {
                Err(error @ PublishError::Unroutable { .. }) => {
                    warn!(email.id = %email_id, %delay, "A retry queue is missing; run `loyalty topology`");
                    result = Err(error.into());
                }
                published => return Ok(published.map(|Confirmed { .. }| Handled::Done)?),
            }
        }
        result
    }
}

impl EmailRequest {
    /// Work on it begins.
    fn new(delivery: Delivery) -> Self {
        let came = TraceContext::of(&delivery.properties);
        let mut span = Span::within(Kind::Consumer, format_args!("process {}", topology::EMAILS), came);
        messaging::processing(&mut span, &delivery, topology::EMAILS);
        Self { delivery, span }
    }

    /// The trace that it is part of, for logs.
    fn trace_id(&self) -> Option<&str> {
        self.span.context().map(TraceContext::trace_id)
    }
}

/// A message of our own rather than the one that came: brokers before 4.0 read its `x-death` headers and may take a
/// email in its third retry queue for one that goes in circles, and drop it.
fn retry_message(delay: RetryDelay, email_id: EmailId, attempts: i64, trace: Option<&TraceContext>) -> Message {
    let mut headers = trace.map(TraceContext::headers).unwrap_or_default();
    headers.insert(ATTEMPT_HEADER.into(), AMQPValue::LongLongInt(attempts));
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(email_id.to_string().into())
        .with_type(emails::request::MESSAGE_TYPE.into())
        // Before 1970 only if this machine's clock says so.
        .with_timestamp(u64::try_from(Timestamp::now().as_second()).unwrap_or_default())
        .with_app_id("loyalty".into())
        .with_headers(headers);
    Message {
        exchange: topology::EMAILS,
        routing_key: delay.routing_key(),
        mandatory: true,
        properties,
        body: emails::request::encode(email_id),
    }
}

fn about(email_id: Option<EmailId>, delivery: &Delivery, reason: Reason, why: &str) -> NewDeadLetter {
    let email_id = email_id.map(EmailId::uuid);
    NewDeadLetter { email_id, ..dead_letter(delivery, topology::EMAILS.to_owned(), reason, why.to_owned()) }
}
