//! The confirming publisher: a message handed to it is either known to be safe in a queue, or its sender is told
//! why not, and whether it may still arrive.
//!
//! One task owns one connection. It keeps every message until its confirm; when the connection breaks it connects
//! again and sends what was not confirmed once more, in order. So a message may arrive twice, and never silently not
//! at all: receivers recognise it by its id. It must never report a confirm that it did not see.

mod blocked_probe;
mod confirms;
mod connection_state;
pub(crate) mod message;
pub(crate) mod publish_error;
mod publisher_task;
mod queue_quota;
mod refusal;
mod stats;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::secret::SecretUrl;
use crate::traces::{Span, messaging};
use publisher_task::PublisherTask;
use queue_quota::{AdmittedMessage, QueueQuotas};

pub use connection_state::ConnectionState;
pub use message::Message;
pub use publish_error::PublishError;
pub use refusal::Refusal;
use stats::Counters;
pub use stats::PublisherStats;

/// What a publisher may hold and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages sent and not confirmed. About 1,000 keep a broker on the same machine busy; more only adds memory. One
    /// queue takes a quarter at most, so that one that confirms nothing leaves room for all others.
    pub window: usize,
    /// From handing a message over to its confirm. Longer than a broker's restart, so that one is survived.
    pub confirm_timeout: Duration,
    /// What a message does when the broker takes none for want of memory or disk.
    pub when_blocked: WhenBlocked,
    /// How long an answer of the broker lets the next message go without asking again whether it takes messages. Longer
    /// than the time between two confirms of a busy publisher, which so never waits. Within it an alarm may go
    /// unnoticed, and a message is sent that the broker keeps unread until the alarm is over. Its sender is told at
    /// once that it may still arrive, which is true: what is written cannot be taken back. To ask before each message
    /// would cost every publisher a round trip to spare this one answer.
    pub fresh: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window: 1_000,
            confirm_timeout: Duration::from_secs(30),
            when_blocked: WhenBlocked::Wait,
            fresh: Duration::from_millis(20),
        }
    }
}

/// What a message does when the broker takes none for want of memory or disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBlocked {
    /// It waits until its time is over: the broker may recover before.
    Wait,
    /// It is given up at once, for somebody who waits for an answer.
    FailFast,
}

/// A handle on the publisher; clones share its connection and its window. It closes when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Publisher {
    requests: mpsc::Sender<Request>,
    link: watch::Receiver<ConnectionState>,
    counts: Arc<Counters>,
    limits: Limits,
    quotas: Arc<QueueQuotas>,
}

impl Publisher {
    /// Starts a publisher. It connects by itself and again after every break; `name` is shown in the broker's list.
    pub fn start(url: SecretUrl, name: &str, limits: Limits) -> Self {
        Self::start_for(url, name, limits, None)
    }

    /// As [`start`](Self::start), for messages to one exchange: each connection begins by asking whether the broker
    /// would take one, with a message that is taken back. As long as it would not, the connection is
    /// [`Refused`](ConnectionState::Refused), and everything is refused at once.
    pub fn probing(url: SecretUrl, name: &str, limits: Limits, exchange: &'static str) -> Self {
        Self::start_for(url, name, limits, Some(exchange))
    }

    fn start_for(url: SecretUrl, name: &str, limits: Limits, exchange: Option<&'static str>) -> Self {
        // What waits here is not sent yet; more room would only hide the window from those who submit.
        const INBOX_MESSAGES: usize = 1;
        let (requests, inbox) = mpsc::channel(INBOX_MESSAGES);
        let (link_state, link) = watch::channel(ConnectionState::Down("not connected yet".to_owned()));
        let counts = Arc::new(Counters::default());
        let sending = PublisherTask::new(inbox, link_state, Arc::clone(&counts), &limits, exchange);
        tokio::spawn(sending.run(url, name.to_owned()));
        let quotas = Arc::new(QueueQuotas::of(&limits));
        Self { requests, link, counts, limits, quotas }
    }

    /// Publishes a message and waits for its confirm.
    pub async fn publish(&self, message: Message) -> Result<Confirmed, PublishError> {
        self.submit(message).await?.confirmed().await
    }

    /// Hands a message over, waiting while the window, or its queue's share of it, is full, and returns the promise of
    /// its confirm. Messages submitted one after the other are sent in that order.
    pub async fn submit(&self, mut message: Message) -> Result<Unconfirmed, PublishError> {
        let (now, confirm_timeout) = (Instant::now(), self.limits.confirm_timeout);
        let (deadline, half_time) = (now + confirm_timeout, now + confirm_timeout / 2);
        let span = messaging::publishing(&mut message);
        let (reply, answer) = oneshot::channel();
        let claimed = Arc::new(AtomicBool::new(false));
        let mut deadline = Deadline { at: deadline, link: self.link.clone(), when_blocked: self.limits.when_blocked };
        let refused = tokio::select! {
            biased;
            handed_over = self.hand_over(message, reply, &claimed, half_time) => match handed_over {
                Ok(()) => return Ok(Unconfirmed { answer, claimed, deadline, span }),
                Err(error) => Err(error),
            },
            link = deadline.expires() => Err(PublishError::not_sent(link)),
        };
        messaging::published(span, &refused);
        refused
    }

    /// Once its queue has a place for it, so that what is for a queue that is stuck stands in nobody's way.
    async fn hand_over(
        &self,
        message: Message,
        reply: oneshot::Sender<Result<Confirmed, PublishError>>,
        claimed: &Arc<AtomicBool>,
        half_time: Instant,
    ) -> Result<(), PublishError> {
        let place = if message.mandatory {
            let gives_up = self.limits.when_blocked == WhenBlocked::FailFast;
            Some(self.quotas.place(&message, gives_up).await.ok_or(PublishError::Overloaded)?)
        } else {
            None // Many queues or none may take it.
        };
        let message = Arc::new(AdmittedMessage { message, place });
        let request = Request { message, reply, claimed: Arc::clone(claimed), half_time };
        self.requests.send(request).await.map_err(|_| PublishError::Closed)
    }

    /// How the publisher stands with its broker, now and as it changes.
    pub fn connection(&self) -> watch::Receiver<ConnectionState> {
        self.link.clone()
    }

    /// What it has under way, for whoever watches over it.
    pub fn stats(&self) -> PublisherStats {
        PublisherStats { counts: Arc::clone(&self.counts), link: self.link.clone() }
    }
}

/// A message that was handed over and not confirmed yet. Who drops it gives up: it may be published or not.
#[derive(Debug)]
#[must_use = "a message whose confirm nobody waits for may never be sent"]
pub struct Unconfirmed {
    answer: oneshot::Receiver<Result<Confirmed, PublishError>>,
    claimed: Arc<AtomicBool>,
    deadline: Deadline,
    span: Span,
}

impl Unconfirmed {
    /// Waits for the confirm.
    pub async fn confirmed(mut self) -> Result<Confirmed, PublishError> {
        let result = tokio::select! {
            biased;
            answer = &mut self.answer => answer.unwrap_or(Err(PublishError::Closed)),
            link = self.deadline.expires() => Err(self.give_up(link)),
        };
        messaging::published(self.span, &result);
        result
    }

    /// Takes the message back if it was not sent. Claiming it here keeps the task from sending it later, so that
    /// "not sent" stays true.
    fn give_up(&self, link: ConnectionState) -> PublishError {
        let was_sent = self.claimed.swap(true, Ordering::AcqRel);
        if was_sent { PublishError::TimedOut { connection: link } } else { PublishError::not_sent(link) }
    }
}

/// How long a message is waited for.
#[derive(Debug)]
struct Deadline {
    at: Instant,
    link: watch::Receiver<ConnectionState>,
    when_blocked: WhenBlocked,
}

impl Deadline {
    /// Resolves when there is no more to wait for, with how the publisher stands with its broker then.
    async fn expires(&mut self) -> ConnectionState {
        let when_blocked = self.when_blocked;
        let is_hopeless = |link: &ConnectionState| match link {
            ConnectionState::Refused(_) => true,
            ConnectionState::Blocked(_) => when_blocked == WhenBlocked::FailFast,
            ConnectionState::Up | ConnectionState::Down(_) => false,
        };
        if let Ok(Ok(link)) = tokio::time::timeout_at(self.at, self.link.wait_for(is_hopeless)).await {
            return link.clone();
        }
        // A publisher that is closed meanwhile says so by its answer.
        tokio::time::sleep_until(self.at).await;
        self.link.borrow().clone()
    }
}

/// The broker has the message in a queue, on the disks of a majority of its nodes. Only made by a confirm.
#[derive(Debug, PartialEq, Eq)]
pub struct Confirmed(());

/// A message and where its outcome is told.
#[derive(Debug)]
struct Request {
    message: Arc<AdmittedMessage>,
    reply: oneshot::Sender<Result<Confirmed, PublishError>>,
    /// Set once, by whoever comes first: the task when it sends the message, or its sender when it gives up.
    claimed: Arc<AtomicBool>,
    /// Half its time for the broker to say that it takes messages, if it was not heard for a while, the other half to
    /// confirm this one.
    half_time: Instant,
}

impl Request {
    /// Whether the message is to be sent now. Never again after a yes, and never after its sender gave up.
    fn claim(&self) -> bool {
        !self.reply.is_closed() && !self.claimed.swap(true, Ordering::AcqRel)
    }

    /// Whether its sender stopped waiting.
    fn is_forgotten(&self) -> bool {
        self.reply.is_closed()
    }

    /// Tells the sender, if it still waits.
    fn answer(self, result: Result<Confirmed, PublishError>) {
        let _ = self.reply.send(result);
    }
}
