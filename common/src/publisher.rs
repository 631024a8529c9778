//! The confirming publisher: a message handed to it is either known to be safe in a queue, or its sender is told
//! why not.
//!
//! One task owns one connection and one channel (confirms of concurrent publishes on clones of a channel can be
//! swapped). It keeps every message until its confirm; when the connection breaks it connects again and sends what
//! was not confirmed once more, in order. So a message may arrive twice, and never silently not at all: receivers
//! recognise it by its id. It must never report a confirm that it did not see.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Event};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::amqp;
use crate::backoff;
use crate::secret::SecretUrl;

/// What a publisher may hold and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages sent and not confirmed. About 1,000 keep a broker on the same machine busy; more only adds memory.
    pub window: usize,
    /// From handing a message over to its confirm. Longer than a broker's restart, so that one is survived.
    pub confirm_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { window: 1_000, confirm_timeout: Duration::from_secs(30) }
    }
}

/// A message on its way out.
#[derive(Clone, Debug)]
pub struct Message {
    /// The exchange it goes to.
    pub exchange: &'static str,
    /// Where the exchange should lead it.
    pub routing_key: String,
    /// Its properties, `message_id` among them.
    pub properties: BasicProperties,
    /// Its body.
    pub body: Vec<u8>,
}

/// The broker has the message in a queue, on the disks of a majority of its nodes. Only made by a confirm.
#[derive(Debug, PartialEq, Eq)]
pub struct Confirmed(());

/// Why a message is not known to be safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No queue is bound to the routing key. Run `loyalty topology`.
    #[error("no queue takes messages of exchange {exchange} with key {routing_key}; is the topology declared?")]
    Unroutable {
        /// The exchange it went to.
        exchange: &'static str,
        /// The key that led nowhere.
        routing_key: String,
    },
    /// The queue refused it: it is full.
    #[error("the queue of exchange {exchange} with key {routing_key} is full")]
    QueueFull {
        /// The exchange it went to.
        exchange: &'static str,
        /// The key of the queue.
        routing_key: String,
    },
    /// The broker takes nothing at present: it is short of memory or disk. The message may be published later.
    #[error("RabbitMQ is short of memory or disk and takes no messages: {reason}")]
    Blocked {
        /// What the broker said.
        reason: String,
    },
    /// There was no connection within the time. The message may be published later, if it was sent before the break.
    #[error("there was no connection to RabbitMQ: {reason}")]
    Disconnected {
        /// The last failure to connect.
        reason: String,
    },
    /// No confirm came in time. The message may still be published: repeat it under the same id.
    #[error("RabbitMQ did not confirm the message in time; it may still arrive")]
    TimedOut,
    /// The publisher was closed.
    #[error("the publisher is closed")]
    Closed,
}

/// How the publisher stands with its broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Not connected, and why.
    Down(String),
    /// Connected and publishing.
    Up,
    /// Connected, but the broker takes nothing.
    Blocked(String),
}

/// A handle on the publisher; clones share its connection and its window. It closes when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Publisher {
    requests: mpsc::Sender<Request>,
    link: watch::Receiver<Link>,
    confirm_timeout: Duration,
}

/// A message and where its fate is told. Its sender may have gone; then nobody waits for it and it is not sent.
#[derive(Debug)]
struct Request {
    message: Arc<Message>,
    reply: oneshot::Sender<Result<Confirmed, PublishError>>,
}

impl Publisher {
    /// Starts a publisher. It connects by itself and again after every break; `name` is shown in the broker's list.
    pub fn start(url: SecretUrl, name: &str, limits: Limits) -> Self {
        // Room for one message a sender beyond the window would only hide the window.
        let (requests, inbox) = mpsc::channel(1);
        let (link_state, link) = watch::channel(Link::Down("not connected yet".to_owned()));
        let sending =
            Sending { inbox, link: link_state, window: limits.window, unconfirmed: BTreeMap::new(), next_number: 0 };
        tokio::spawn(sending.run(url, name.to_owned()));
        Self { requests, link, confirm_timeout: limits.confirm_timeout }
    }

    /// Publishes a message and waits for its confirm.
    pub async fn publish(&self, message: Message) -> Result<Confirmed, PublishError> {
        self.submit(message).await?.confirmed().await
    }

    /// Hands a message over, waiting while the window is full, and returns the promise of its confirm. Messages
    /// submitted one after the other are sent in that order.
    pub async fn submit(&self, message: Message) -> Result<Unconfirmed, PublishError> {
        let deadline = Instant::now() + self.confirm_timeout;
        let (reply, answer) = oneshot::channel();
        let request = Request { message: Arc::new(message), reply };
        match tokio::time::timeout_at(deadline, self.requests.send(request)).await {
            Ok(Ok(())) => Ok(Unconfirmed { answer, deadline, link: self.link.clone() }),
            Ok(Err(_)) => Err(PublishError::Closed),
            Err(_) => Err(late(&self.link)),
        }
    }

    /// How the publisher stands with its broker, now and as it changes.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }
}

/// A message that was handed over and not confirmed yet. Dropping it gives up hearing of it, not the message.
#[derive(Debug)]
pub struct Unconfirmed {
    answer: oneshot::Receiver<Result<Confirmed, PublishError>>,
    deadline: Instant,
    link: watch::Receiver<Link>,
}

impl Unconfirmed {
    /// Waits for the confirm.
    pub async fn confirmed(self) -> Result<Confirmed, PublishError> {
        match tokio::time::timeout_at(self.deadline, self.answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(PublishError::Closed),
            Err(_) => Err(late(&self.link)),
        }
    }
}

/// What a missed deadline means, by the state of the link.
fn late(link: &watch::Receiver<Link>) -> PublishError {
    match &*link.borrow() {
        Link::Up => PublishError::TimedOut,
        Link::Blocked(reason) => PublishError::Blocked { reason: reason.clone() },
        Link::Down(reason) => PublishError::Disconnected { reason: reason.clone() },
    }
}

type Confirming = BoxFuture<'static, (u64, lapin::Result<Confirmation>)>;

/// The task's state: what outlives a connection.
struct Sending {
    inbox: mpsc::Receiver<Request>,
    link: watch::Sender<Link>,
    window: usize,
    /// By number, which is the order of submission: a new connection starts by sending these.
    unconfirmed: BTreeMap<u64, Request>,
    next_number: u64,
}

impl Sending {
    async fn run(mut self, url: SecretUrl, name: String) {
        let mut attempt = 0;
        while !self.finished() {
            match open(&url, &name).await {
                Ok((connection, channel)) => {
                    attempt = 0;
                    self.link.send_replace(Link::Up);
                    if let Err(error) = self.serve(&connection, &channel).await {
                        self.broken(&name, &error);
                    }
                    amqp::close(&connection).await;
                }
                Err(error) => self.broken(&name, &error),
            }
            self.rest(&mut attempt).await;
        }
    }

    /// Nobody can hand anything over any more, and nobody waits for a confirm.
    fn finished(&self) -> bool {
        self.inbox.is_closed() && self.inbox.is_empty() && self.unconfirmed.is_empty()
    }

    fn broken(&mut self, name: &str, error: &(dyn std::error::Error + 'static)) {
        let reason = chain(error);
        warn!(
            publisher = name,
            error = reason,
            unconfirmed = self.unconfirmed.len(),
            "Lost RabbitMQ, connecting again"
        );
        self.link.send_replace(Link::Down(reason));
    }

    /// Waits before the next attempt, and lets go of messages whose senders stopped waiting meanwhile.
    async fn rest(&mut self, attempt: &mut u32) {
        if !self.finished() {
            tokio::time::sleep(backoff::delay(*attempt, backoff::jitter())).await;
            *attempt = attempt.saturating_add(1);
        }
        self.unconfirmed.retain(|_, request| !request.reply.is_closed());
    }

    /// Sends until the connection breaks or there is nothing left to send.
    async fn serve(&mut self, connection: &Connection, channel: &Channel) -> Result<(), lapin::Error> {
        let mut confirms = FuturesUnordered::new();
        for (number, request) in &self.unconfirmed {
            confirms.push(send(channel, *number, &request.message));
        }
        let mut events = pin!(connection.events_listener());
        let mut open = true;
        while open || !confirms.is_empty() {
            let takes_more = open && self.unconfirmed.len() < self.window && *self.link.borrow() == Link::Up;
            tokio::select! {
                Some((number, confirmation)) = confirms.next() => self.settle(number, confirmation?),
                request = self.inbox.recv(), if takes_more => match request {
                    Some(request) => confirms.extend(self.accept(channel, request)),
                    None => open = false,
                },
                Some(event) = events.next() => self.follow(event)?,
            }
            // A confirm that nobody waits for no longer holds a place in the window.
            if self.unconfirmed.len() >= self.window {
                self.unconfirmed.retain(|_, request| !request.reply.is_closed());
            }
        }
        Ok(())
    }

    fn accept(&mut self, channel: &Channel, request: Request) -> Option<Confirming> {
        if request.reply.is_closed() {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        let confirming = send(channel, number, &request.message);
        self.unconfirmed.insert(number, request);
        Some(confirming)
    }

    fn settle(&mut self, number: u64, confirmation: Confirmation) {
        let Some(Request { message, reply }) = self.unconfirmed.remove(&number) else {
            return; // Its sender stopped waiting.
        };
        let exchange = message.exchange;
        let routing_key = || message.routing_key.clone();
        let result = match confirmation {
            Confirmation::Ack(None) => Ok(Confirmed(())),
            // "Returned" is said before the ack: the broker has done its part and the message is in no queue.
            Confirmation::Ack(Some(_)) => Err(PublishError::Unroutable { exchange, routing_key: routing_key() }),
            Confirmation::Nack(_) => Err(PublishError::QueueFull { exchange, routing_key: routing_key() }),
            Confirmation::NotRequested => Err(PublishError::TimedOut),
        };
        let _ = reply.send(result); // Nobody may be waiting any more.
    }

    fn follow(&mut self, event: Event) -> Result<(), lapin::Error> {
        match event {
            Event::ConnectionBlocked(reason) => {
                warn!(reason, "RabbitMQ takes no messages");
                self.link.send_replace(Link::Blocked(reason));
            }
            Event::ConnectionUnblocked => {
                info!("RabbitMQ takes messages again");
                self.link.send_replace(Link::Up);
            }
            Event::Error(error) => return Err(error),
            // lapin may add kinds of events; only the above change whether we may publish.
            _ => {}
        }
        Ok(())
    }
}

async fn open(url: &SecretUrl, name: &str) -> Result<(Connection, Channel), OpenError> {
    let connection = amqp::connect(url, name).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Connect(#[from] amqp::ConnectError),
    #[error("could not open a channel with confirms")]
    Channel(#[from] lapin::Error),
}

/// Sends a message and returns the wait for its confirm.
///
/// lapin queues the frames when the future is first polled, so that poll happens here: were it left to
/// `FuturesUnordered`, the order of messages would be that of its polling.
fn send(channel: &Channel, number: u64, message: &Arc<Message>) -> Confirming {
    let (channel, message) = (channel.clone(), Arc::clone(message));
    let mut confirming: Confirming = Box::pin(async move {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = (message.exchange.into(), message.routing_key.as_str().into());
        let properties = message.properties.clone();
        let confirmation = match channel.basic_publish(exchange, key, options, &message.body, properties).await {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        (number, confirmation)
    });
    let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
    match confirming.as_mut().poll(&mut nobody) {
        std::task::Poll::Ready(done) => Box::pin(std::future::ready(done)),
        std::task::Poll::Pending => confirming,
    }
}

/// An error with its causes in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
