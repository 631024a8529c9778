//! Waits for receipts: asks for the outcomes of many commands together, each as often as its age deserves.
//!
//! A query for each waiting command, or a notification from the database for each, would cost the worker's database
//! more than the commands themselves. [`ReceiptPoller`] is a plain value without a task or a channel: its owner adds
//! keys, each with a tag of its own, and awaits [`next`](ReceiptPoller::next), which sleeps until somebody is due,
//! reads, and yields the tags that have an outcome. For a list of keys call it until
//! [`is_empty`](ReceiptPoller::is_empty); for waiters that come and go call it in a `select!`. It never gives up by
//! itself: deadlines, and what to do while nothing comes, are the owner's.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::pool::{Pool, StoreError};
use crate::read::{self, CommandState};
use loyalty_ledger::CommandKey;

/// The first question after a key was added: an idle worker needs about as long after the confirm.
const FIRST_INTERVAL: Duration = Duration::from_millis(5);

/// The longest time between two questions about a key: a tenth of a second late is not noticed at a till.
const LONGEST_INTERVAL: Duration = Duration::from_millis(100);

/// Who is due within this time is asked for in the same query.
const TOGETHER: Duration = Duration::from_millis(3);

/// The time between two questions while the database does not answer.
const AWAY_INTERVAL: Duration = Duration::from_millis(250);

/// Keys of one query: some milliseconds of an idle database.
const KEYS_MAX: usize = 1_000;

/// Commands that are waited for. `T` is what the owner knows a wait by; a key may be waited for more than once.
#[derive(Debug)]
pub struct ReceiptPoller<T> {
    pool: Pool,
    waits: Waits<T>,
}

impl<T> ReceiptPoller<T> {
    /// Waits for nothing yet.
    pub const fn new(pool: Pool) -> Self {
        Self { pool, waits: Waits(Vec::new()) }
    }

    /// Waits for the outcome of one more command. The first question is due in a few milliseconds.
    pub fn add(&mut self, key: CommandKey, tag: T) {
        self.waits.add(key, tag);
    }

    /// Whether everything that was added has been yielded.
    pub const fn is_empty(&self) -> bool {
        self.waits.0.is_empty()
    }

    /// How many are waited for.
    pub const fn len(&self) -> usize {
        self.waits.0.len()
    }

    /// The tags of all that are waited for, in no order.
    pub fn tags(&self) -> impl Iterator<Item = &T> {
        self.waits.0.iter().map(|wait| &wait.tag)
    }

    /// Gives up the waits whose tags are not to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.waits.0.retain(|wait| keep(&wait.tag));
    }

    /// Returns when a question is due, or never while nothing is waited for.
    pub async fn due(&self) {
        match self.waits.next_due() {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Whether a question is due now.
    pub fn is_due(&self) -> bool {
        self.waits.next_due().is_some_and(|due| due <= Instant::now())
    }

    /// Waits until a question is due, asks it, and yields those that have an outcome which `accepts` takes, maybe none.
    /// All others stay: an outcome that is not taken, such as the dead letter of an earlier sending, is asked for
    /// again. After an error everybody stays too, and is asked for more rarely. Nothing is lost if this is cancelled.
    pub async fn next(
        &mut self,
        accepts: impl FnMut(&T, &CommandState) -> bool,
    ) -> Result<Vec<(T, CommandState)>, StoreError> {
        self.due().await;
        self.ask(accepts).await
    }

    /// As [`next`](Self::next), without waiting: yields nothing if nothing is due.
    pub async fn ask(
        &mut self,
        accepts: impl FnMut(&T, &CommandState) -> bool,
    ) -> Result<Vec<(T, CommandState)>, StoreError> {
        let asked = self.waits.begin();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        match read::command_states(&self.pool, &asked).await {
            Ok(states) => Ok(self.waits.settle(asked.len(), &states, accepts)),
            Err(error) => {
                self.put_off();
                Err(error)
            }
        }
    }

    /// Asks nobody for a while: for an owner who gave up a question because the database does not answer.
    pub fn put_off(&mut self) {
        self.waits.put_off(Instant::now() + AWAY_INTERVAL);
    }
}

/// The waits. Those that the last question asked for stand first.
#[derive(Debug)]
struct Waits<T>(Vec<Wait<T>>);

#[derive(Debug)]
struct Wait<T> {
    key: CommandKey,
    tag: T,
    interval: Duration,
    due: Instant,
}

impl<T> Waits<T> {
    fn add(&mut self, key: CommandKey, tag: T) {
        self.0.push(Wait { key, tag, interval: FIRST_INTERVAL, due: Instant::now() + FIRST_INTERVAL });
    }

    fn next_due(&self) -> Option<Instant> {
        self.0.iter().map(|wait| wait.due).min()
    }

    /// Moves those who are due, or nearly, to the front, the longest due first, and returns their keys. Their next
    /// question is put off before this one has its answer, so that one that is cancelled is not repeated at once.
    fn begin(&mut self) -> Vec<CommandKey> {
        self.0.sort_unstable_by_key(|wait| wait.due);
        let now = Instant::now();
        let due = self.0.partition_point(|wait| wait.due <= now + TOGETHER).min(KEYS_MAX);
        for wait in &mut self.0[..due] {
            wait.postpone(now);
        }
        self.0[..due].iter().map(|wait| wait.key.clone()).collect()
    }

    /// Takes out those of the first `asked` that have an outcome.
    fn settle(
        &mut self,
        asked: usize,
        states: &HashMap<CommandKey, CommandState>,
        mut accepts: impl FnMut(&T, &CommandState) -> bool,
    ) -> Vec<(T, CommandState)> {
        let mut waits = self.0.split_off(asked);
        let mut settled = Vec::new();
        for wait in self.0.drain(..) {
            match states.get(&wait.key).filter(|state| accepts(&wait.tag, state)) {
                Some(state) => settled.push((wait.tag, state.clone())),
                None => waits.push(wait),
            }
        }
        self.0 = waits;
        settled
    }

    fn put_off(&mut self, until: Instant) {
        for wait in &mut self.0 {
            wait.due = wait.due.max(until);
        }
    }
}

impl<T> Wait<T> {
    /// Puts the next question off, each time half as long again as the time before.
    fn postpone(&mut self, now: Instant) {
        self.interval = (self.interval * 3 / 2).min(LONGEST_INTERVAL);
        self.due = now + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use loyalty_common::{CommandId, MemberId};
    use tokio::time::advance;

    use super::*;
    use crate::dead_letters::Reason;

    fn key() -> CommandKey {
        (MemberId::parse("ann").expect("a member id"), CommandId::fresh())
    }

    fn waits(keys: &[CommandKey]) -> Waits<usize> {
        let mut waits = Waits(Vec::new());
        for (tag, key) in keys.iter().enumerate() {
            waits.add(key.clone(), tag);
        }
        waits
    }

    fn parked(keys: &[&CommandKey]) -> HashMap<CommandKey, CommandState> {
        keys.iter().map(|key| ((*key).clone(), CommandState::Parked { content: None })).collect()
    }

    fn tags(settled: &[(usize, CommandState)]) -> Vec<usize> {
        settled.iter().map(|(tag, _)| *tag).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_older_a_wait_the_rarer_its_questions_up_to_a_bound() {
        let mut waits = waits(&[key()]);
        let mut intervals_ms = Vec::new();
        for _ in 0..11 {
            let interval = waits.next_due().expect("one waits") - Instant::now();
            intervals_ms.push(interval.as_millis());
            advance(interval).await;
            assert_eq!(waits.begin().len(), 1);
        }
        assert_eq!(intervals_ms, [5, 7, 11, 16, 25, 37, 56, 85, 100, 100, 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_due_soon_is_asked_for_along_and_one_without_an_outcome_stays() {
        let keys = [key(), key(), key()];
        let mut waits = waits(&keys[..1]);
        advance(TOGETHER).await;
        waits.add(keys[1].clone(), 1);
        advance(FIRST_INTERVAL.saturating_sub(TOGETHER)).await;
        waits.add(keys[2].clone(), 2);
        let asked = waits.begin();
        assert_eq!(asked, keys[..2], "the third is not due for a while");
        let settled = waits.settle(asked.len(), &parked(&[&keys[1]]), |_, _| true);
        assert_eq!(tags(&settled), [1]);
        assert_eq!(waits.0.iter().map(|wait| wait.tag).collect::<Vec<_>>(), [2, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_that_is_not_accepted_is_asked_for_again() {
        let (key, old): (CommandKey, Timestamp) = (key(), "2026-11-22T10:00:00Z".parse().expect("a time"));
        let mut waits = waits(std::slice::from_ref(&key));
        let dead_letter = |at| {
            let dead_letter = CommandState::DeadLetter { reason: Reason::Failed, error: String::new(), at };
            HashMap::from([(key.clone(), dead_letter)])
        };
        let is_new =
            |_: &usize, state: &CommandState| !matches!(state, CommandState::DeadLetter { at, .. } if *at <= old);
        advance(FIRST_INTERVAL).await;
        let asked = waits.begin().len();
        assert_eq!(waits.settle(asked, &dead_letter(old), is_new), []);
        advance(LONGEST_INTERVAL).await;
        let asked = waits.begin().len();
        let new = "2026-11-22T10:00:01Z".parse().expect("a time");
        assert_eq!(tags(&waits.settle(asked, &dead_letter(new), is_new)), [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_two_wait_for_is_yielded_to_both() {
        let key = key();
        let mut waits = waits(&[key.clone(), key.clone()]);
        advance(FIRST_INTERVAL).await;
        let asked = waits.begin().len();
        let mut settled = tags(&waits.settle(asked, &parked(&[&key]), |_, _| true));
        settled.sort_unstable();
        assert_eq!(settled, [0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_query_has_a_bound_and_those_beyond_it_come_next() {
        let keys: Vec<CommandKey> = (0..=KEYS_MAX).map(|_| key()).collect();
        let mut waits = waits(&keys);
        advance(FIRST_INTERVAL).await;
        let (first, second) = (waits.begin(), waits.begin());
        assert_eq!((first.len(), second.len()), (KEYS_MAX, 1));
        assert!(!first.contains(&second[0]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_asked_about_less_often_and_its_end_is_found_as_soon_as_before() {
        let mut waits = waits(&[key()]);
        advance(FIRST_INTERVAL).await;
        waits.begin();
        waits.put_off(Instant::now() + AWAY_INTERVAL);
        assert_eq!(waits.next_due().expect("one waits") - Instant::now(), AWAY_INTERVAL);
        advance(AWAY_INTERVAL).await;
        waits.begin();
        assert!(waits.next_due().expect("one waits") - Instant::now() <= LONGEST_INTERVAL);
    }
}
