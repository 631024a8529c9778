//! How much of the window the messages to one queue may take.
//!
//! A queue without a leader confirms nothing. Without a bound of their own, the messages to it would fill the window,
//! and hold up those to all other queues until their senders give up.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, interval};

use super::{Limits, Message, WhenBlocked};

/// The part of the window that one queue may take: so many queues may be stuck before the others feel it, and sixteen
/// that work never come near it.
const WINDOW_PARTS: usize = 4;

/// A queue may take so much of any window: below it the bound would cost more than it saves.
const LEAST: usize = 64;

/// What a queue may take of the window of who waits for no blocked broker. RabbitMQ stops reading a channel of which
/// one quorum queue owes more than 32 answers (`quorum_commands_soft_limit`), and with it what is for all other queues.
/// Publishers of many messages would pay for that with a fourth of their speed; who serves somebody at a till does not.
const ANSWERS_OWED_MAX: usize = 24;

/// A queue that takes all it may and has confirmed nothing for so long is stuck. Confirms take milliseconds.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// How often to look whether it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How many queues are remembered while nothing is on its way to them. A publisher of ours has some twenty.
const IDLE_MAX: usize = 64;

/// The quotas of one publisher's queues.
#[derive(Debug)]
pub(super) struct QueueQuotas {
    each: usize,
    of: Mutex<HashMap<(&'static str, String), Arc<QueueQuota>>>,
}

#[derive(Debug)]
struct QueueQuota {
    places: Arc<Semaphore>,
    confirmed_at: Mutex<Instant>,
}

/// A message with its place. As long as the broker owes an answer for it, the place is taken, also if its sender has
/// given up.
#[derive(Debug)]
pub(super) struct AdmittedMessage {
    pub(super) message: Message,
    pub(super) place: Option<QuotaPermit>,
}

impl Deref for AdmittedMessage {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

/// A place in a queue's quota.
#[derive(Debug)]
pub(super) struct QuotaPermit {
    quota: Arc<QueueQuota>,
    _permit: OwnedSemaphorePermit,
}

impl QueueQuotas {
    pub(super) fn of(limits: &Limits) -> Self {
        let window = limits.window.max(1);
        let each = match limits.when_blocked {
            WhenBlocked::Wait => (window / WINDOW_PARTS).max(LEAST),
            WhenBlocked::FailFast => ANSWERS_OWED_MAX,
        };
        Self { each: each.min(window), of: Mutex::default() }
    }

    /// Waits for a place for a message. None: its queue is stuck, and `gives_up` says not to wait for it.
    pub(super) async fn place(&self, message: &Message, gives_up: bool) -> Option<QuotaPermit> {
        let quota = self.quota(message);
        if quota.places.available_permits() == self.each {
            quota.heard(); // Nothing was on its way: the silence of an idle queue says nothing.
        }
        let waiting = Arc::clone(&quota.places).acquire_owned();
        let permit = tokio::select! {
            biased;
            permit = waiting => permit.expect("the semaphore is never closed"),
            () = quota.is_silent(), if gives_up => return None,
        };
        Some(QuotaPermit { quota, _permit: permit })
    }

    fn quota(&self, message: &Message) -> Arc<QueueQuota> {
        let mut quotas = self.of.lock().expect("nobody panics while holding it");
        if quotas.len() >= IDLE_MAX {
            quotas.retain(|_, quota| Arc::strong_count(quota) > 1);
        }
        let fresh = || {
            let (places, confirmed_at) = (Arc::new(Semaphore::new(self.each)), Mutex::new(Instant::now()));
            Arc::new(QueueQuota { places, confirmed_at })
        };
        let queue = (message.exchange, message.routing_key.clone());
        Arc::clone(quotas.entry(queue).or_insert_with(fresh))
    }
}

impl QueueQuota {
    /// Its silence counts from now on.
    fn heard(&self) {
        *self.confirmed_at.lock().expect("nobody panics while holding it") = Instant::now();
    }

    /// Returns when all places are taken and nothing was confirmed for a while.
    async fn is_silent(&self) {
        let mut looks = interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            let confirmed_at = *self.confirmed_at.lock().expect("nobody panics while holding it");
            if self.places.available_permits() == 0 && confirmed_at.elapsed() >= SILENT_AFTER {
                return;
            }
        }
    }
}

impl QuotaPermit {
    /// The message was confirmed: its queue works.
    pub(super) fn confirmed(&self) {
        self.quota.heard();
    }
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;

    fn to(key: &str) -> Message {
        let (properties, body) = (BasicProperties::default(), Vec::new());
        Message { exchange: "loyalty.commands", routing_key: key.to_owned(), mandatory: true, properties, body }
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_confirms_nothing_takes_its_share_and_no_more() {
        let quotas = QueueQuotas::of(&Limits { when_blocked: WhenBlocked::FailFast, ..Limits::default() });
        let mut taken = Vec::new();
        for _ in 0..ANSWERS_OWED_MAX {
            taken.push(quotas.place(&to("03"), true).await.expect("a place"));
        }
        assert!(quotas.place(&to("03"), true).await.is_none(), "it is stuck");
        assert!(quotas.place(&to("04"), true).await.is_some(), "all others go on");
        let waits = tokio::time::timeout(SILENT_AFTER * 10, quotas.place(&to("03"), false)).await;
        assert!(waits.is_err(), "who is told to wait waits");

        taken.pop().expect("one of them").confirmed();
        assert!(quotas.place(&to("03"), true).await.is_some(), "it works again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_was_idle_is_not_taken_for_one_that_is_stuck() {
        let quotas = QueueQuotas::of(&Limits { when_blocked: WhenBlocked::FailFast, ..Limits::default() });
        quotas.place(&to("03"), true).await.expect("a place").confirmed();
        tokio::time::advance(SILENT_AFTER * 60).await;
        let mut taken = Vec::new();
        for _ in 0..ANSWERS_OWED_MAX {
            taken.push(quotas.place(&to("03"), true).await.expect("a place"));
        }
        let confirm = async {
            tokio::time::sleep(LOOK_INTERVAL / 2).await;
            taken.pop().expect("one of them").confirmed();
        };
        let message = to("03");
        let (placed, ()) = tokio::join!(quotas.place(&message, true), confirm);
        assert!(placed.is_some(), "its first confirm is on its way");
    }

    #[tokio::test]
    async fn queues_to_which_nothing_is_on_its_way_are_forgotten() {
        let quotas = QueueQuotas::of(&Limits::default());
        for key in 0..1_000 {
            assert!(quotas.place(&to(&key.to_string()), true).await.is_some());
        }
        assert!(quotas.of.lock().expect("nobody panics while holding it").len() <= IDLE_MAX);
    }
}
