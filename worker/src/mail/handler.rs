//! One request for a mail, from its delivery to its fate.
//!
//! A mail is claimed before it is sent and settled after; what was claimed is never given up half way, whatever
//! becomes of the session that delivered it. Which attempt it is, and so which rung comes next, is read from the
//! mail's row and never from the message: of a message there may be two.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use loyalty_common::envelope::{PERSISTENT, TraceContext};
use loyalty_common::publisher::{Confirmed, Message, PublishError, Publisher, chain};
use loyalty_common::topology::{self, RetryDelay};
use loyalty_common::traces::{Kind, Span, messaging};
use loyalty_store::dead_letter::{self, NewDeadLetter, Reason};
use loyalty_store::email::{self, Attempt, Claim, ClaimError, EmailId, Mail, request};
use loyalty_store::{Pool, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::metrics::MailMetrics;
use super::outcome::{Note, Outcome};
use super::persist_result::written;
use super::rate_limiter::Pace;
use super::retry_schedule::RetrySchedule;
use super::settings::OnUnknown;
use super::smtp::Smtp;
use super::templates::{ComposeError, Templates};
use crate::headers;
use crate::letter::letter;

/// What a delivery is handled with. Shared by all sessions, so that its bounds hold for all of them together.
pub(crate) struct Office {
    pub(crate) pool: Pool,
    pub(crate) publisher: Publisher,
    pub(crate) smtp: Smtp,
    pub(crate) templates: Templates,
    pub(crate) ladder: RetrySchedule,
    pub(crate) pace: Pace,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) metrics: MailMetrics,
}

/// A request for a mail, as it came.
struct Asked {
    delivery: Delivery,
    /// How it is told of in its trace.
    span: Span,
}

/// Whether the broker may forget a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It may: its fate is in the database, or it travels on under another message.
    Done,
    /// It may not: the session ended before its turn came.
    Left,
}

/// Why a delivery could not be brought to its end. It comes again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliveryError {
    #[error("could not read or write a mail's state")]
    Store(#[from] StoreError),
    #[error("could not put a mail on its retry rung")]
    Publish(#[from] PublishError),
}

/// A claim lasts as long as an attempt may take and this much more, for writing what became of it.
const LEASE_MARGIN: Duration = Duration::from_secs(60);

/// The attempts made when the message was published; for people who look at a queue.
const ATTEMPT_HEADER: &str = "x-loyalty-attempt";

impl Office {
    /// Brings one delivery to its fate. `leave` ends the wait for a turn, and nothing after it.
    pub(crate) async fn handle(
        self: Arc<Self>,
        delivery: Delivery,
        leave: CancellationToken,
    ) -> Result<Handled, DeliveryError> {
        let mut asked = Asked::new(delivery);
        let handled = self.see_off(&mut asked, &leave).await;
        match &handled {
            Ok(Handled::Done) => asked.span.end(),
            // Given up, as far as this delivery goes.
            Ok(Handled::Left) => {}
            Err(error) => asked.span.fails(&"not_handled", &chain(error)),
        }
        handled
    }

    async fn see_off(&self, asked: &mut Asked, leave: &CancellationToken) -> Result<Handled, DeliveryError> {
        let email_id = match request::decode(&asked.delivery.data) {
            Ok(email_id) => email_id,
            Err(problem) => return self.set_aside(asked, None, &problem.to_string()).await,
        };
        asked.span.says("loyalty.mail.id", &email_id);
        let Some(turn) = leave.run_until_cancelled(self.pace.turn()).await else {
            return Ok(Handled::Left);
        };
        match self.claim(email_id).await? {
            Claim::Ours(mail) => {
                let outcome = self.attempt(&mail, asked).await;
                // The server is done with us: the next may go while this one is written down.
                drop(turn);
                self.metrics.attempted(&outcome);
                self.settle(&mail, &outcome, asked).await
            }
            Claim::Later(wait) => {
                debug!(email.id = %email_id, "A mail came before its time");
                let attempts = headers::integer(&asked.delivery.properties, ATTEMPT_HEADER).unwrap_or_default();
                self.put_on(self.ladder.within(wait), email_id, attempts, asked).await
            }
            Claim::Abandoned => {
                warn!(email.id = %email_id, "A mailer ended while it was sending; nobody knows whether the mail went");
                asked.span.fails(&"abandoned", &"a mailer ended while it was sending");
                Ok(Handled::Done)
            }
            Claim::Settled(state) => {
                debug!(email.id = %email_id, %state, "A mail that is settled was asked for again");
                Ok(Handled::Done)
            }
            Claim::Missing => self.set_aside(asked, Some(email_id), "there is no such mail").await,
        }
    }

    /// A claim whose answer is lost is taken back before anything else: left standing, it would keep the mail from
    /// everybody until its lease is over, and make it one of unknown fate then, though nobody has sent it. Then it has
    /// failed like any other: the request comes again.
    async fn claim(&self, email_id: EmailId) -> Result<Claim, StoreError> {
        let resend = self.on_unknown == OnUnknown::Resend;
        match email::claim(&self.pool, email_id, self.lease(), resend).await {
            Ok(claim) => Ok(claim),
            Err(ClaimError::Store(error)) => Err(error),
            Err(ClaimError::InDoubt { claim, source }) => {
                warn!(email.id = %email_id, error = chain(&source), "The answer to a mail's claim was lost");
                written(|_| email::take_back(&self.pool, claim)).await?;
                Err(source)
            }
        }
    }

    fn lease(&self) -> Duration {
        self.smtp.longest() + LEASE_MARGIN
    }

    async fn attempt(&self, mail: &Mail, asked: &Asked) -> Outcome {
        let mut span = Span::within(Kind::Client, format_args!("send mail"), asked.span.context().cloned());
        span.says("server.address", &self.smtp.host());
        span.says("loyalty.mail.id", &mail.attempt.email_id);
        span.counts("loyalty.mail.attempt", mail.attempt.number);
        let outcome = self.offer(mail).await;
        span.says("loyalty.mail.outcome", &outcome.name());
        match &outcome {
            Outcome::Sent(_) => {}
            Outcome::Passing(why) | Outcome::SenderRefused(why) | Outcome::Permanent(why) | Outcome::Unknown(why) => {
                span.fails(&outcome.name(), why);
            }
        }
        span.end();
        outcome
    }

    async fn offer(&self, mail: &Mail) -> Outcome {
        match self.templates.compose(mail, SystemTime::now()) {
            Ok(message) => self.smtp.send(message.envelope(), &message.formatted()).await,
            Err(error @ ComposeError::Address(_)) => Outcome::Permanent(Note::new(&chain(&error))),
            // The shop's own doing, which may be mended before the ladder ends.
            Err(error @ (ComposeError::Template(_) | ComposeError::Form(_))) => {
                Outcome::Passing(Note::new(&chain(&error)))
            }
        }
    }

    /// Every outcome, and what follows from it.
    async fn settle(&self, mail: &Mail, outcome: &Outcome, asked: &mut Asked) -> Result<Handled, DeliveryError> {
        let (pool, attempt) = (&self.pool, mail.attempt);
        let (id, number) = (attempt.email_id, attempt.number);
        match outcome {
            Outcome::Sent(reply) => {
                written(|_| email::sent(pool, attempt, reply.as_str())).await?;
                debug!(email.id = %id, attempt = number, trace.id = asked.trace_id(), %reply, "Sent a mail");
                Ok(Handled::Done)
            }
            Outcome::Passing(why) => self.retry(attempt, self.ladder.after(attempt.step), why, asked).await,
            Outcome::SenderRefused(why) => {
                self.retry(attempt, Some(self.ladder.after_or_last(attempt.step)), why, asked).await
            }
            Outcome::Permanent(why) => self.bury(attempt, Reason::MailRejected, why, asked).await,
            Outcome::Unknown(why) => match self.on_unknown {
                OnUnknown::Resend => self.retry(attempt, self.ladder.after(attempt.step), why, asked).await,
                OnUnknown::Hold => {
                    written(|_| email::unknown(pool, attempt, why.as_str())).await?;
                    asked.span.fails(&outcome.name(), why);
                    warn!(email.id = %id, attempt = number, trace.id = asked.trace_id(), %why, "Nobody knows whether a mail went; it is held");
                    Ok(Handled::Done)
                }
            },
        }
    }

    /// The next rung, or the end of the ladder. First the row, then the message, then (by the caller) the
    /// acknowledgement: whatever is lost in between, a message remains that asks for this mail.
    async fn retry(
        &self,
        attempt: Attempt,
        rung: Option<RetryDelay>,
        why: &Note,
        asked: &mut Asked,
    ) -> Result<Handled, DeliveryError> {
        let Some(rung) = rung else {
            return self.bury(attempt, Reason::MailExhausted, why, asked).await;
        };
        let (pool, wait) = (&self.pool, rung.wait());
        if !written(|_| email::retry_after(pool, attempt, wait, why.as_str())).await? {
            // Somebody began another attempt, by a message of their own, which carries the mail on.
            return Ok(Handled::Done);
        }
        let (id, number) = (attempt.email_id, attempt.number);
        info!(email.id = %id, attempt = number, trace.id = asked.trace_id(), %rung, %why, "A mail waits for its next attempt");
        self.put_on(rung, id, i64::from(number), asked).await
    }

    /// The mail will not be sent; an operator finds it among the dead letters.
    async fn bury(
        &self,
        attempt: Attempt,
        reason: Reason,
        why: &Note,
        asked: &mut Asked,
    ) -> Result<Handled, DeliveryError> {
        let letter = about(Some(attempt.email_id), &asked.delivery, reason, why.as_str());
        let pool = &self.pool;
        let once_more = |repeated| NewDeadLetter { repeated: letter.repeated || repeated, ..letter.clone() };
        written(|repeated| email::dead(pool, attempt, why.as_str(), once_more(repeated))).await?;
        let (id, number) = (attempt.email_id, attempt.number);
        asked.span.fails(&reason, why);
        warn!(email.id = %id, attempt = number, trace.id = asked.trace_id(), %reason, %why, "A mail is a dead letter");
        Ok(Handled::Done)
    }

    /// A request that leads to no mail.
    async fn set_aside(
        &self,
        asked: &mut Asked,
        email_id: Option<EmailId>,
        why: &str,
    ) -> Result<Handled, DeliveryError> {
        let letter = about(email_id, &asked.delivery, Reason::MailUnreadable, why);
        dead_letter::keep(&self.pool, &[letter]).await?;
        asked.span.fails(&Reason::MailUnreadable, &why);
        warn!(why, "Set a message aside that asks for no mail");
        Ok(Handled::Done)
    }

    /// A rung that was removed while we run leads nowhere. The mail then waits on a shorter one, comes too early, and
    /// waits again.
    async fn put_on(
        &self,
        rung: RetryDelay,
        email_id: EmailId,
        attempts: i64,
        asked: &Asked,
    ) -> Result<Handled, DeliveryError> {
        let mut result = Ok(Handled::Done);
        for rung in self.ladder.down_from(rung) {
            match self.publisher.publish(on_rung(rung, email_id, attempts, asked.span.context())).await {
                Err(error @ PublishError::Unroutable { .. }) => {
                    warn!(email.id = %email_id, %rung, "A rung is missing; run `loyalty topology`");
                    result = Err(error.into());
                }
                published => return Ok(published.map(|Confirmed { .. }| Handled::Done)?),
            }
        }
        result
    }
}

impl Asked {
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
/// mail on its third rung for one that goes in circles, and drop it.
fn on_rung(rung: RetryDelay, email_id: EmailId, attempts: i64, trace: Option<&TraceContext>) -> Message {
    let mut headers = trace.map(TraceContext::headers).unwrap_or_default();
    headers.insert(ATTEMPT_HEADER.into(), AMQPValue::LongLongInt(attempts));
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(email_id.to_string().into())
        .with_type(request::MESSAGE_TYPE.into())
        // Before 1970 only if this machine's clock says so.
        .with_timestamp(u64::try_from(Timestamp::now().as_second()).unwrap_or_default())
        .with_app_id("loyalty".into())
        .with_headers(headers);
    Message {
        exchange: topology::EMAILS,
        routing_key: rung.routing_key(),
        mandatory: true,
        properties,
        body: request::encode(email_id),
    }
}

fn about(email_id: Option<EmailId>, delivery: &Delivery, reason: Reason, why: &str) -> NewDeadLetter {
    let email_id = email_id.map(EmailId::uuid);
    NewDeadLetter { email_id, ..letter(delivery, topology::EMAILS.to_owned(), reason, why.to_owned()) }
}
