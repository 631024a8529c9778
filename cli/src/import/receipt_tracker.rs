//! Waits until the commands of an import have an outcome, chunk by chunk in the order of their publishing.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use loyalty_common::{CommandType, MemberId, Outcome};
use loyalty_ledger::CommandContent;
use loyalty_store::dead_letters::Reason;
use loyalty_store::read::{CommandState, command_states};
use loyalty_store::receipt_poller::ReceiptPoller;
use loyalty_store::{Pool, StoreError};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::warn;

use super::problems::Problems;
use super::reader::{Item, key};
use super::row::{Problem, ProblemKind};
use super::sending::refusal;

/// Chunks that are published and still without an outcome: what an import keeps in memory when the workers are slower
/// than it is. Fifty thousand commands, some 20 MB.
pub(super) const CHUNKS_WAITING_MAX: usize = 50;

/// Parked commands that are looked at again at the end, since an enrolment further down the file may have released
/// them. As many as the chunks above hold; more of them are many strangers, not a file in another order.
const PARKED_MAX: usize = 50_000;

/// Parked commands asked for at once.
const LOOK_COMMANDS: usize = 1_000;

/// Without any progress for this long, the reader of a terminal wants to know why.
const STALLED: Duration = Duration::from_secs(10);

/// Follows what an import publishes.
#[derive(Debug)]
pub(super) struct ReceiptTracker {
    pool: Pool,
    /// When the import began, by the database's clock.
    since: Timestamp,
    told: watch::Sender<Outcomes>,
    problems: Arc<Mutex<Problems>>,
    parked: Vec<Item>,
}

/// What became of the commands so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub(super) applied: u64,
    pub(super) refused: u64,
    pub(super) parked: u64,
    pub(super) dead: u64,
}

impl ReceiptTracker {
    pub(super) const fn new(
        pool: Pool,
        since: Timestamp,
        told: watch::Sender<Outcomes>,
        problems: Arc<Mutex<Problems>>,
    ) -> Self {
        Self { pool, since, told, problems, parked: Vec::new() }
    }

    /// Follows every chunk until all of its commands have an outcome, and tells of each change.
    pub(super) async fn run(mut self, mut chunks: mpsc::Receiver<Vec<Item>>) -> Result<(), StoreError> {
        let mut poller = ReceiptPoller::new(self.pool.clone());
        while let Some(items) = chunks.recv().await {
            for item in items {
                poller.add(key(&item), item);
            }
            while !poller.is_empty() {
                match timeout(STALLED, self.next(&mut poller)).await {
                    Ok(decided) => self.count(decided?),
                    Err(_) => {
                        warn!(waiting = poller.len(), "Nothing was applied for 10 seconds; is a worker running?");
                    }
                }
            }
        }
        self.look_at_parked_again().await
    }

    /// The next ones that have an outcome.
    async fn next(&self, poller: &mut ReceiptPoller<Item>) -> Result<Vec<(Item, CommandState)>, StoreError> {
        loop {
            // What an earlier run left parked is parked before this run's enrolment is applied, and not after it.
            let enrolments = poller.tags().filter(|item| item.command.command_type() == CommandType::Enroll);
            let enrolling: HashSet<MemberId> = enrolments.map(|item| item.command.member_id.clone()).collect();
            let is_final = |item: &Item, state: &CommandState| match verdict(Some(state), item, self.since) {
                Verdict::Waiting => false,
                Verdict::Parked => !enrolling.contains(&item.command.member_id),
                Verdict::Applied | Verdict::Refused | Verdict::Dead => true,
            };
            let decided = poller.next(is_final).await?;
            if !decided.is_empty() {
                return Ok(decided);
            }
        }
    }

    fn count(&mut self, decided: Vec<(Item, CommandState)>) {
        self.told.send_modify(|counts| {
            for (item, state) in decided {
                let verdict = verdict(Some(&state), &item, self.since);
                counts.count(verdict);
                if verdict != Verdict::Parked {
                    tell(&self.problems, problem(&state, verdict, &item));
                } else if self.parked.len() < PARKED_MAX {
                    self.parked.push(item);
                } else {
                    tell(&self.problems, parked(&item));
                }
            }
        });
    }

    async fn look_at_parked_again(&self) -> Result<(), StoreError> {
        for items in self.parked.chunks(LOOK_COMMANDS) {
            let keys: Vec<_> = items.iter().map(key).collect();
            let known = command_states(&self.pool, &keys).await?;
            self.told.send_modify(|counts| {
                for item in items {
                    counts.parked -= 1;
                    // What is neither parked nor decided is being set aside: it waited for too long.
                    let state = known.get(&key(item));
                    match verdict(state, item, self.since) {
                        Verdict::Waiting | Verdict::Parked => {
                            counts.count(Verdict::Parked);
                            tell(&self.problems, parked(item));
                        }
                        verdict @ (Verdict::Applied | Verdict::Refused | Verdict::Dead) => {
                            counts.count(verdict);
                            tell(&self.problems, state.and_then(|state| problem(state, verdict, item)));
                        }
                    }
                }
            });
        }
        Ok(())
    }
}

/// What is known of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing yet.
    Waiting,
    Applied,
    Refused,
    Parked,
    Dead,
}

fn verdict(state: Option<&CommandState>, item: &Item, since: Timestamp) -> Verdict {
    match state {
        None => Verdict::Waiting,
        // Another command used the id before, so this one becomes a dead letter.
        Some(CommandState::Decided { content, .. } | CommandState::Parked { content: Some(content) })
            if !content.is_same_as(&CommandContent::of(&item.command)) =>
        {
            Verdict::Dead
        }
        Some(CommandState::Decided { receipt, .. }) => match receipt.outcome {
            Outcome::Applied => Verdict::Applied,
            Outcome::Refused => Verdict::Refused,
        },
        Some(CommandState::Parked { .. }) => Verdict::Parked,
        // The dead letter of an earlier sending: what becomes of this one is not known yet.
        Some(CommandState::DeadLetter { at, .. }) if *at < since => Verdict::Waiting,
        Some(CommandState::DeadLetter { .. }) => Verdict::Dead,
    }
}

/// What is to be told of a command that was not applied.
fn problem(state: &CommandState, verdict: Verdict, item: &Item) -> Option<Problem> {
    let text = match (verdict, state) {
        (Verdict::Applied | Verdict::Waiting | Verdict::Parked, _) => return None,
        (Verdict::Refused, CommandState::Decided { receipt, .. }) => format!("was refused: {}", refusal(receipt)),
        (_, CommandState::DeadLetter { reason, error, .. }) => format!("was set aside: {reason}: {error}"),
        (_, CommandState::Decided { .. } | CommandState::Parked { .. }) => {
            format!("was set aside: {}: its id was used before with other content", Reason::Conflict)
        }
    };
    Some(Problem { line: item.line, kind: item.fault(), text, source: item.source.clone() })
}

fn parked(item: &Item) -> Problem {
    let text = "waits for its member's enrolment".to_owned();
    Problem { line: item.line, kind: ProblemKind::Note, text, source: item.source.clone() }
}

fn tell(problems: &Mutex<Problems>, told: impl Into<Option<Problem>>) {
    if let Some(problem) = told.into() {
        problems.lock().unwrap_or_else(PoisonError::into_inner).add(problem);
    }
}

impl Outcomes {
    pub(super) const fn all(&self) -> u64 {
        self.applied + self.refused + self.parked + self.dead
    }

    const fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Waiting => {}
            Verdict::Applied => self.applied += 1,
            Verdict::Refused => self.refused += 1,
            Verdict::Parked => self.parked += 1,
            Verdict::Dead => self.dead += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loyalty_common::{Action, Command, Earn, Points, Receipt};

    fn earn(points: i64) -> Item {
        let points = Points::try_new(points).expect("points");
        let command = Command::new("ann".parse().expect("a member id"), Action::Earn(Earn { points }));
        Item { line: 2, command, enrols: false, source: None }
    }

    fn receipt(item: &Item, outcome: Outcome) -> Receipt {
        let at = item.command.occurred_at;
        Receipt {
            member_id: item.command.member_id.clone(),
            command_id: item.command.command_id,
            r#type: item.command.command_type().into(),
            outcome,
            code: None,
            points: item.command.action.points(),
            target: None,
            expires_at: None,
            number: None,
            delta: 0,
            held_delta: 0,
            debt_delta: 0,
            written_off: 0,
            balance_after: 0,
            seq: 1,
            epoch: 1,
            occurred_at: at,
            effective_at: at,
            recorded_at: at,
            reason: None,
            source_ref: None,
        }
    }

    #[test]
    fn each_outcome_counts_once_and_only_for_the_command_that_has_it() {
        let (ours, other) = (earn(5), earn(6));
        let began: Timestamp = "2026-11-22T10:00:00Z".parse().expect("a time");
        let check = |state: Option<CommandState>, expected: Verdict| {
            assert_eq!(verdict(state.as_ref(), &ours, began), expected, "{state:?}");
        };
        let content = |item: &Item| CommandContent::of(&item.command);
        let decided = |item: &Item, outcome| CommandState::Decided {
            receipt: Box::new(receipt(item, outcome)),
            content: content(item),
        };
        let dead_letter = |at: Timestamp| CommandState::DeadLetter { reason: Reason::Failed, error: String::new(), at };
        check(None, Verdict::Waiting);
        check(Some(decided(&ours, Outcome::Applied)), Verdict::Applied);
        check(Some(decided(&ours, Outcome::Refused)), Verdict::Refused);
        check(Some(decided(&other, Outcome::Applied)), Verdict::Dead);
        check(Some(CommandState::Parked { content: Some(content(&ours)) }), Verdict::Parked);
        check(Some(CommandState::Parked { content: Some(content(&other)) }), Verdict::Dead);
        check(Some(dead_letter(began)), Verdict::Dead);
        check(Some(dead_letter(began - jiff::SignedDuration::from_secs(1))), Verdict::Waiting);
    }
}
