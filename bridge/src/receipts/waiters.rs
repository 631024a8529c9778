//! Requests that wait for the receipts of their commands: one task polls for all of them together.
//!
//! A wait that is given up costs nothing any more.

use std::time::Duration;

use jiff::Timestamp;
use loyalty_common::error_chain::chain;
use loyalty_ledger::CommandKey;
use loyalty_store::Pool;
use loyalty_store::read::CommandState;
use loyalty_store::receipt_poller::ReceiptPoller;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::limits::Limits;
use crate::metrics::Metrics;

/// The requests that wait, as their handlers see them.
#[derive(Debug)]
pub(crate) struct ReceiptWaiters {
    waiters: mpsc::Sender<(CommandKey, Waiter)>,
    /// One for each request that may wait.
    places: Semaphore,
    metrics: Metrics,
}

impl ReceiptWaiters {
    /// Starts the task, which ends when this is dropped.
    pub(crate) fn start(pool: Pool, limits: &Limits, metrics: Metrics) -> Self {
        let (waiters, inbox) = mpsc::channel(limits.waiters.max(1));
        let poller = ReceiptPoller::new(pool);
        tokio::spawn(PollTask { poller, inbox, read_timeout: limits.read_timeout, is_away: false }.run());
        Self { waiters, places: Semaphore::new(limits.waiters), metrics }
    }

    /// Waits for the outcome of a command. None: it has none in time, or too many wait already. A dead letter of the
    /// time `old_dead_letter` was there before and does not count.
    pub(crate) async fn wait_for(
        &self,
        key: CommandKey,
        old_dead_letter: Option<Timestamp>,
        max_wait: Duration,
    ) -> Option<CommandState> {
        let _place = self.places.try_acquire().ok()?;
        let _counted = self.metrics.waiting();
        let (reply, answer) = oneshot::channel();
        // There is room: the channel holds as many as there are places.
        self.waiters.send((key, Waiter { old_dead_letter, reply })).await.ok()?;
        timeout(max_wait, answer).await.ok()?.ok()
    }
}

/// A request that waits.
#[derive(Debug)]
struct Waiter {
    old_dead_letter: Option<Timestamp>,
    reply: oneshot::Sender<CommandState>,
}

impl Waiter {
    fn accepts(&self, state: &CommandState) -> bool {
        !matches!(state, CommandState::DeadLetter { at, .. } if Some(*at) == self.old_dead_letter)
    }
}

/// The task that asks for all of them.
struct PollTask {
    poller: ReceiptPoller<Waiter>,
    inbox: mpsc::Receiver<(CommandKey, Waiter)>,
    read_timeout: Duration,
    /// Whether the database did not answer last time.
    is_away: bool,
}

impl PollTask {
    async fn run(mut self) {
        loop {
            tokio::select! {
                arrived = self.inbox.recv() => match arrived {
                    Some((key, waiter)) => self.poller.add(key, waiter),
                    None => return,
                },
                () = self.poller.due() => self.poll().await,
            }
        }
    }

    async fn poll(&mut self) {
        self.poller.retain(|waiter| !waiter.reply.is_closed());
        if !self.poller.is_due() {
            return; // Everybody who was due has stopped waiting.
        }
        match timeout(self.read_timeout, self.poller.ask(Waiter::accepts)).await {
            Ok(Ok(settled)) => {
                if std::mem::take(&mut self.is_away) {
                    info!("The database answers again");
                }
                for (waiter, state) in settled {
                    // A request that stopped waiting has had another answer.
                    let _ = waiter.reply.send(state);
                }
            }
            Ok(Err(error)) => self.report_outage(&chain(&error)),
            Err(_) => {
                self.poller.put_off();
                self.report_outage("no answer in time");
            }
        }
    }

    /// Logged once for each outage, since the database is asked again several times a second.
    fn report_outage(&mut self, error: &str) {
        if !std::mem::replace(&mut self.is_away, true) {
            warn!(error, "The database does not answer; requests are answered without their receipts");
        }
    }
}

#[cfg(test)]
mod tests {
    use loyalty_store::dead_letters::Reason;

    use super::*;

    #[test]
    fn the_dead_letter_of_an_earlier_try_is_no_answer_and_a_new_one_is() {
        let waiter = |old_dead_letter| Waiter { old_dead_letter, reply: oneshot::channel().0 };
        let old: Timestamp = "2026-11-22T10:00:00Z".parse().expect("a time");
        let dead_letter = |at| CommandState::DeadLetter { reason: Reason::Failed, error: String::new(), at };
        assert!(!waiter(Some(old)).accepts(&dead_letter(old)));
        assert!(waiter(Some(old)).accepts(&dead_letter("2026-11-22T10:00:01Z".parse().expect("a time"))));
        assert!(waiter(None).accepts(&dead_letter(old)));
        assert!(waiter(Some(old)).accepts(&CommandState::Parked { content: None }));
    }
}
