//! The publisher's task: connects, sends, settles, and connects again.
//!
//! What must survive a broken connection lives in [`PublisherTask`]; what ends with it in [`PendingConfirms`] and
//! [`BlockedProbe`].

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt};
use lapin::message::BasicReturnMessage;
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Confirmation, Connection, Event};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use super::blocked_probe::BlockedProbe;
use super::confirms::{Answered, PendingConfirms};
use super::queue_quota::QuotaPermit;
use super::stats::Counters;
use super::{Confirmed, ConnectionState, Limits, Message, PublishError, Refusal, Request};
use crate::amqp;
use crate::backoff::{Backoff, SessionProgress};
use crate::error_chain::chain;
use crate::secret::SecretUrl;

/// How often to look for senders that stopped waiting, while their messages are in the way of others. Far below the
/// seconds that a sender waits.
const FORGET_INTERVAL: Duration = Duration::from_millis(250);

/// How many windows of messages that nobody waits for any more may lack their confirms. A broker that owes that many
/// is as good as lost: only a new connection lets go of their memory.
const FORGOTTEN_WINDOWS: usize = 4;

/// How long the question whether the broker would take a message may stay open before messages are sent all the same.
/// A broker that is blocked or slow is no broker that refuses.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the log says of a broker that is there and takes nothing of ours.
const REFUSES: &str = "RabbitMQ refuses what is published";

/// How long connecting and opening the channel may take together. Connecting alone is given up after 10 s, with a
/// better word for it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// The task's state: what outlives a connection.
pub(super) struct PublisherTask {
    inbox: mpsc::Receiver<Request>,
    link: watch::Sender<ConnectionState>,
    counts: Arc<Counters>,
    window: usize,
    /// See [`Limits::fresh`].
    fresh: Duration,
    /// Where all messages go, if that is one exchange.
    exchange: Option<&'static str>,
    /// What goes next, as soon as the broker is known to take messages. Until then its sender may take it back.
    next: Option<Request>,
    /// By number, which is the order of submission: a new connection starts by sending these.
    unconfirmed: BTreeMap<u64, Request>,
    next_number: u64,
}

impl PublisherTask {
    pub(super) fn new(
        inbox: mpsc::Receiver<Request>,
        link: watch::Sender<ConnectionState>,
        counts: Arc<Counters>,
        limits: &Limits,
        exchange: Option<&'static str>,
    ) -> Self {
        // A window of none would send nothing, ever.
        let (next, window, fresh) = (None, limits.window.max(1), limits.fresh);
        Self { inbox, link, counts, window, fresh, exchange, next, unconfirmed: BTreeMap::new(), next_number: 0 }
    }

    /// Publishes until all handles are dropped and nobody waits for a confirm any more.
    pub(super) async fn run(mut self, url: SecretUrl, name: String) {
        let mut backoff = Backoff::default();
        while !self.finished() {
            // That something was confirmed is no proof: a connection that breaks soon after (no such exchange, say)
            // must not be rebuilt in a hurry.
            let progress = SessionProgress::default();
            if let Err(broken) = self.session(&url, &name, &progress).await {
                let wait = backoff.wait_after(&progress);
                self.broken(&name, &broken, wait);
                tokio::time::sleep(wait).await;
                self.forget();
                self.counts.unconfirmed_are(self.unconfirmed.len());
            }
        }
    }

    /// Nobody can hand anything over any more, and nobody waits for a confirm.
    fn finished(&self) -> bool {
        self.inbox.is_closed() && self.inbox.is_empty() && self.next.is_none() && self.unconfirmed.is_empty()
    }

    /// One connection, from its beginning to its end.
    async fn session(&mut self, url: &SecretUrl, name: &str, progress: &SessionProgress) -> Result<(), Broken> {
        let opening = tokio::time::timeout(OPEN_TIMEOUT, open(url, name, self.fresh));
        let (connection, channel, probe) = opening.await.map_err(|_| Broken::Slow)??;
        info!(publisher = name, unconfirmed = self.unconfirmed.len(), "Connected to RabbitMQ");
        progress.opened();
        let served = self.serve(&connection, channel, probe).await;
        amqp::close(&connection).await;
        served
    }

    /// Sends until the connection breaks or there is nothing left to send.
    async fn serve(
        &mut self,
        connection: &Connection,
        channel: Channel,
        mut probe: BlockedProbe,
    ) -> Result<(), Broken> {
        // Listening begins before the first message: an event without a listener is lost, and a block that nobody
        // heard of would look like a broker that never confirms.
        let mut events = pin!(connection.events_listener());
        self.probe_exchange(&mut probe, &mut events).await?;
        let (mut pending, first_number) = (PendingConfirms::new(channel), self.next_number);
        for (number, request) in &self.unconfirmed {
            pending.send(*number, &request.message);
        }
        let mut forgetting = tokio::time::interval(FORGET_INTERVAL);
        forgetting.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = true;
        while open || self.next.is_some() || !self.unconfirmed.is_empty() {
            let takes_more = open && self.takes_more();
            tokio::select! {
                answered = pending.answered() => {
                    if answered.iter().any(|(_, answer)| answer.is_ok()) {
                        probe.heard();
                    }
                    self.settle_all(answered).map_err(|error| self.lost(error, Some((&pending, first_number))))?;
                }
                request = self.inbox.recv(), if takes_more => match request {
                    Some(request) => self.next = Some(request),
                    None => open = false,
                },
                answered = probe.answered() => answered.map_err(|error| self.lost(error, None))?,
                Some(event) = events.next() => {
                    self.follow(event).map_err(|error| self.lost(error, Some((&pending, first_number))))?;
                }
                _ = forgetting.tick(), if !takes_more => self.forget(),
            }
            self.send_next(&mut probe, &mut pending);
            self.counts.unconfirmed_are(self.unconfirmed.len());
            if pending.len() > FORGOTTEN_WINDOWS * self.window {
                return Err(Broken::Silent { owed: pending.len() });
            }
        }
        Ok(())
    }

    /// Asks whether the broker takes messages for the one exchange, if there is one. It is up once it does, or does not
    /// say.
    async fn probe_exchange(
        &mut self,
        probe: &mut BlockedProbe,
        events: &mut (impl Stream<Item = Event> + Unpin),
    ) -> Result<(), Broken> {
        if let Some(exchange) = self.exchange {
            probe.probe(exchange, Instant::now() + PROBE_TIMEOUT);
            loop {
                tokio::select! {
                    answered = probe.answered() => break answered.map_err(|error| self.lost(error, None))?,
                    Some(event) = events.next() => self.follow(event).map_err(|error| self.lost(error, None))?,
                }
            }
        }
        // An alarm may come between this and the first message.
        probe.ask_again();
        self.link.send_if_modified(|link| {
            let is_blocked = matches!(link, ConnectionState::Blocked(_));
            *link = if is_blocked { link.clone() } else { ConnectionState::Up };
            !is_blocked
        });
        Ok(())
    }

    fn takes_more(&self) -> bool {
        self.next.is_none() && self.unconfirmed.len() < self.window && *self.link.borrow() == ConnectionState::Up
    }

    /// Sends what goes next if the broker takes messages, and asks it if that is not known.
    fn send_next(&mut self, probe: &mut BlockedProbe, pending: &mut PendingConfirms) {
        if *self.link.borrow() != ConnectionState::Up {
            return;
        }
        if !probe.is_fresh() {
            self.next.iter().for_each(|request| probe.probe(request.message.exchange, request.half_time));
        } else if let Some(request) = self.next.take() {
            self.accept(pending, request);
        }
    }

    /// Lets go of messages whose senders stopped waiting: they hold no place in the window and are not sent again.
    fn forget(&mut self) {
        self.unconfirmed.retain(|_, request| !request.is_forgotten());
        self.next.take_if(|request| request.is_forgotten());
    }

    fn accept(&mut self, pending: &mut PendingConfirms, request: Request) {
        if request.claim() {
            pending.send(self.next_number, &request.message);
            self.unconfirmed.insert(self.next_number, request);
            self.next_number += 1;
        }
    }

    /// Settles what the broker answered. What it did not answer, because the channel or the connection is gone, stays
    /// unconfirmed and is the error.
    fn settle_all(&mut self, answered: Vec<Answered>) -> lapin::Result<()> {
        // First the returned ones: their own confirms, in this list or a later one, say nothing of it.
        for returned in answered.iter().filter_map(returned) {
            self.refuse_returned(returned);
        }
        let mut lost = None;
        for (number, answer) in answered {
            match answer {
                Ok(confirmation) => self.settle(number, &confirmation),
                // What was sent too late knows only that the channel is closed, and not why.
                Err(error) => lost = lost.filter(|known| Refusal::of(known).is_some()).or(Some(error)),
            }
        }
        lost.map_or(Ok(()), Err)
    }

    fn settle(&mut self, number: u64, confirmation: &Confirmation) {
        let Some(request) = self.unconfirmed.remove(&number) else {
            return; // It was returned, or its sender stopped waiting.
        };
        let result = match confirmation {
            // A message attached here is another one.
            Confirmation::Ack(_) => {
                request.message.place.iter().for_each(QuotaPermit::confirmed);
                Ok(Confirmed(()))
            }
            Confirmation::Nack(_) => Err(PublishError::QueueFull {
                exchange: request.message.exchange,
                routing_key: request.message.routing_key.clone(),
            }),
            // The channel is in confirm mode, so this cannot be; if it is, nothing is known.
            Confirmation::NotRequested => Err(PublishError::TimedOut { connection: ConnectionState::Up }),
        };
        request.answer(result);
    }

    /// Finds the message that came back by what it was sent with. Two of the same id and key are alike in where they
    /// lead.
    fn refuse_returned(&mut self, returned: &BasicReturnMessage) {
        let same = |message: &Message| {
            message.exchange == returned.exchange.as_str()
                && message.routing_key == returned.routing_key.as_str()
                && message.properties.message_id() == returned.properties.message_id()
        };
        let found = self.unconfirmed.iter().find(|(_, request)| same(&request.message)).map(|(number, _)| *number);
        if let Some(request) = found.and_then(|number| self.unconfirmed.remove(&number)) {
            refuse_unroutable(request);
        }
    }

    /// A message that the broker refuses closes its channel. All that go where it went are answered, or they would
    /// close every channel to come and take their neighbours with them.
    ///
    /// The last one sent on the channel is surely in no queue, unless an earlier channel took it: it was refused, or
    /// came behind what was. What goes next was not sent. Of all others nobody knows.
    fn lost(&mut self, error: lapin::Error, sent: Option<(&PendingConfirms, u64)>) -> Broken {
        let Some(refusal) = Refusal::of(&error) else { return Broken::Lost(error) };
        let named = |request: &Request| refusal.names(request.message.exchange);
        let asked = self.next.take_if(|request| named(request));
        let closed = sent.filter(|(pending, _)| pending.is_over());
        let last = closed.and_then(|(_, first)| self.next_number.checked_sub(1).filter(|last| *last >= first));
        let last = last.and_then(|last| self.unconfirmed.remove(&last));
        for request in asked.into_iter().chain(last) {
            refuse(request, &refusal);
        }
        let all = std::mem::take(&mut self.unconfirmed).into_iter();
        let (in_doubt, kept): (BTreeMap<_, _>, _) = all.partition(|(_, request)| named(request));
        self.unconfirmed = kept;
        for request in in_doubt.into_values() {
            request.answer(Err(PublishError::TimedOut { connection: ConnectionState::Refused(refusal.clone()) }));
        }
        Broken::Refused(refusal)
    }

    fn follow(&mut self, event: Event) -> lapin::Result<()> {
        match event {
            Event::ConnectionBlocked(reason) => {
                warn!(reason, "RabbitMQ does not accept messages");
                self.link.send_replace(ConnectionState::Blocked(reason));
            }
            Event::ConnectionUnblocked => {
                info!("RabbitMQ accepts messages again");
                self.link.send_replace(ConnectionState::Up);
            }
            Event::Error(error) => return Err(error),
            // lapin may add kinds of events; only the above change whether we may publish.
            _ => {}
        }
        Ok(())
    }

    fn broken(&mut self, name: &str, broken: &Broken, wait: Duration) {
        let reason = chain(broken);
        let unconfirmed = self.unconfirmed.len();
        self.counts.broke();
        self.counts.unconfirmed_are(unconfirmed);
        let (what, link) = match broken {
            // Whether it still does is known before anything else is sent, if that can be asked.
            Broken::Refused(refusal) if self.exchange.is_some() => (REFUSES, ConnectionState::Refused(refusal.clone())),
            Broken::Refused(_) => (REFUSES, ConnectionState::Down(reason.clone())),
            Broken::Connect(_) | Broken::Channel(_) | Broken::Slow | Broken::Lost(_) | Broken::Silent { .. } => {
                ("No connection to RabbitMQ", ConnectionState::Down(reason.clone()))
            }
        };
        let wait_ms = wait.as_millis();
        warn!(publisher = name, error = reason, unconfirmed, wait_ms, "{what}; retrying");
        self.link.send_replace(link);
    }
}

async fn open(url: &SecretUrl, name: &str, fresh: Duration) -> Result<(Connection, Channel, BlockedProbe), Broken> {
    let connection = amqp::connect(url, name).await?;
    let channel = connection.create_channel().await.map_err(Broken::Channel)?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(Broken::Channel)?;
    let probe = BlockedProbe::new(&connection, fresh).await.map_err(Broken::Channel)?;
    Ok((connection, channel, probe))
}

/// The message that lapin attached to an answer. It is that of the broker's latest return, not that of the answer.
fn returned((_, answer): &Answered) -> Option<&BasicReturnMessage> {
    match answer {
        Ok(Confirmation::Ack(returned) | Confirmation::Nack(returned)) => returned.as_ref(),
        Ok(Confirmation::NotRequested) | Err(_) => None,
    }
}

/// Tells the sender of a message that is surely in no queue.
fn refuse(request: Request, refusal: &Refusal) {
    match refusal {
        Refusal::NoExchange(_) => refuse_unroutable(request),
        Refusal::Forbidden(_) | Refusal::Other(_) => {
            request.answer(Err(PublishError::Refused { refusal: refusal.clone() }));
        }
    }
}

fn refuse_unroutable(request: Request) {
    let Message { exchange, routing_key, .. } = &request.message.message;
    let error = PublishError::Unroutable { exchange, routing_key: routing_key.clone() };
    request.answer(Err(error));
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Connect(#[from] amqp::ConnectError),
    #[error("could not open a channel with confirms")]
    Channel(#[source] lapin::Error),
    #[error("RabbitMQ did not open a channel within 15 seconds")]
    Slow,
    #[error("RabbitMQ refuses what is published: {0}")]
    Refused(Refusal),
    #[error("lost the connection")]
    Lost(#[source] lapin::Error),
    #[error("{owed} messages were never confirmed")]
    Silent { owed: usize },
}
