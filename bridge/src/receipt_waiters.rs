//! Waiting for receipts: one task asks for all requests at once, each as often as its age deserves.
//!
//! A query for each request, or a notification from the database for each command, would cost the worker's database
//! more than the commands themselves. A wait that is given up costs nothing any more.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use loyalty_common::publisher::chain;
use loyalty_store::Pool;
use loyalty_store::read::{self, Fate};
use loyalty_store::rows::Key;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use crate::limits::Limits;
use crate::metrics::Metrics;

/// The first question after the confirm: an idle worker needs about as long.
const FIRST_INTERVAL: Duration = Duration::from_millis(5);

/// The longest time between two questions: a tenth of a second late is not noticed at a till.
const LONGEST_INTERVAL: Duration = Duration::from_millis(100);

/// Who is due within this time is asked for in the same query.
const TOGETHER: Duration = Duration::from_millis(3);

/// The time between two questions while the database does not answer.
const AWAY_INTERVAL: Duration = Duration::from_millis(250);

/// The asking side.
#[derive(Debug)]
pub(crate) struct Waiting {
    waiters: mpsc::Sender<Waiter>,
    /// One for each request that may wait.
    places: Semaphore,
    metrics: Metrics,
}

impl Waiting {
    /// Starts the task, which ends when this is dropped.
    pub(crate) fn start(pool: Pool, limits: &Limits, metrics: Metrics) -> Self {
        let (waiters, inbox) = mpsc::channel(limits.waiters.max(1));
        let polling = Polling { pool, inbox, waiters: Vec::new(), read_timeout: limits.read_timeout, away: false };
        tokio::spawn(polling.run());
        Self { waiters, places: Semaphore::new(limits.waiters), metrics }
    }

    /// Waits for the fate of a command. None: it has none in time, or too many wait already. A dead letter of the
    /// time `old_letter` was there before and does not count.
    pub(crate) async fn fate(&self, key: Key, old_letter: Option<Timestamp>, patience: Duration) -> Option<Fate> {
        let _place = self.places.try_acquire().ok()?;
        let _counted = self.metrics.waiting();
        let (reply, answer) = oneshot::channel();
        let waiter = Waiter { key, old_letter, reply, interval: FIRST_INTERVAL, due: Instant::now() + FIRST_INTERVAL };
        // There is room: the channel holds as many as there are places.
        self.waiters.send(waiter).await.ok()?;
        timeout(patience, answer).await.ok()?.ok()
    }
}

/// Somebody who waits.
#[derive(Debug)]
struct Waiter {
    key: Key,
    old_letter: Option<Timestamp>,
    reply: oneshot::Sender<Fate>,
    interval: Duration,
    due: Instant,
}

impl Waiter {
    fn accepts(&self, fate: &Fate) -> bool {
        !matches!(fate, Fate::DeadLetter { at, .. } if Some(*at) == self.old_letter)
    }

    /// Puts the next question off, each time half as long again as the time before.
    fn postpone(&mut self, at_least: Duration) {
        self.interval = (self.interval * 3 / 2).clamp(at_least, LONGEST_INTERVAL.max(at_least));
        self.due = Instant::now() + self.interval;
    }
}

/// The task.
struct Polling {
    pool: Pool,
    inbox: mpsc::Receiver<Waiter>,
    waiters: Vec<Waiter>,
    read_timeout: Duration,
    /// Whether the database did not answer last time.
    away: bool,
}

impl Polling {
    async fn run(mut self) {
        loop {
            let next = self.waiters.iter().map(|waiter| waiter.due).min();
            tokio::select! {
                arrived = self.inbox.recv() => match arrived {
                    Some(waiter) => self.waiters.push(waiter),
                    None => return,
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.ask().await,
            }
        }
    }

    /// Asks for everybody who is due, or nearly, and still waits.
    async fn ask(&mut self) {
        self.waiters.retain(|waiter| !waiter.reply.is_closed());
        let until = Instant::now() + TOGETHER;
        let due: Vec<Waiter> = self.waiters.extract_if(.., |waiter| waiter.due <= until).collect();
        if due.is_empty() {
            return;
        }
        let keys: Vec<Key> = due.iter().map(|waiter| waiter.key.clone()).collect();
        match timeout(self.read_timeout, read::fates(&self.pool, &keys)).await {
            Ok(Ok(fates)) => self.answer(due, &fates),
            Ok(Err(error)) => self.put_off(due, &chain(&error)),
            Err(_) => self.put_off(due, "no answer in time"),
        }
    }

    fn answer(&mut self, due: Vec<Waiter>, fates: &HashMap<Key, Fate>) {
        if std::mem::take(&mut self.away) {
            info!("The database answers again");
        }
        for mut waiter in due {
            if let Some(fate) = fates.get(&waiter.key).filter(|fate| waiter.accepts(fate)) {
                // Who stopped waiting has had another answer.
                let _ = waiter.reply.send(fate.clone());
            } else {
                waiter.postpone(FIRST_INTERVAL);
                self.waiters.push(waiter);
            }
        }
    }

    /// Said once for each outage, since the database is asked again several times a second.
    fn put_off(&mut self, due: Vec<Waiter>, error: &str) {
        if !std::mem::replace(&mut self.away, true) {
            warn!(error, "The database does not answer; requests are answered without their receipts");
        }
        for mut waiter in due {
            waiter.postpone(AWAY_INTERVAL);
            self.waiters.push(waiter);
        }
    }
}

#[cfg(test)]
mod tests {
    use loyalty_common::{CommandId, MemberId};
    use loyalty_store::dead_letter::Reason;

    use super::*;

    fn waiter(old_letter: Option<Timestamp>) -> Waiter {
        let key = (MemberId::parse("ann").expect("a member id"), CommandId::fresh());
        let (reply, _) = oneshot::channel();
        Waiter { key, old_letter, reply, interval: FIRST_INTERVAL, due: Instant::now() }
    }

    #[tokio::test]
    async fn the_dead_letter_of_an_earlier_try_is_no_answer_and_a_new_one_is() {
        let old: Timestamp = "2026-11-22T10:00:00Z".parse().expect("a time");
        let letter = |at| Fate::DeadLetter { reason: Reason::Failed, error: String::new(), at };
        assert!(!waiter(Some(old)).accepts(&letter(old)));
        assert!(waiter(Some(old)).accepts(&letter("2026-11-22T10:00:01Z".parse().expect("a time"))));
        assert!(waiter(None).accepts(&letter(old)));
        assert!(waiter(Some(old)).accepts(&Fate::Parked { content: None }));
    }

    #[tokio::test(start_paused = true)]
    async fn the_older_a_wait_the_rarer_its_questions_up_to_a_bound() {
        let mut waiter = waiter(None);
        let mut intervals_ms = Vec::new();
        for _ in 0..10 {
            waiter.postpone(FIRST_INTERVAL);
            intervals_ms.push((waiter.due - Instant::now()).as_millis());
        }
        assert_eq!(intervals_ms, [7, 11, 16, 25, 37, 56, 85, 100, 100, 100]);
        waiter.postpone(AWAY_INTERVAL);
        assert_eq!(waiter.due - Instant::now(), AWAY_INTERVAL, "an outage is asked about less often still");
        waiter.postpone(FIRST_INTERVAL);
        assert_eq!(waiter.due - Instant::now(), LONGEST_INTERVAL, "and its end is found as soon as before");
    }
}
