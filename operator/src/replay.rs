//! The replay: sends dead letters again, in the order of their arrival, and records what each of them came to.
//!
//! A dead letter is claimed before it is sent, and concluded when the ledger, the commands that wait or a new dead
//! letter says what became of it. What was claimed and not sent is open again at the end. However a replay is cut
//! short, repeating it doubles nothing: the command ids decide, as for live traffic. It never goes past the gate that a
//! publisher would take.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use loyalty_common::publisher::{PublishError, Publisher};
use loyalty_common::{Command, MemberId};
use loyalty_store::dead_letters::{self, Claimed, Concluded, DeadLetterId, Replay, Replayable};
use loyalty_store::emails::EmailId;
use loyalty_store::{Pool, StoreError, emails};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod outcome;
mod pace;
pub(crate) mod replay_message;
mod result_poller;

pub use outcome::{Ended, Progress, ReplayOutcome};
pub use pace::{Canary, Pace};

use crate::OperatorApproval;
use replay_message::{ReplayMessage, message};
use result_poller::CommandIdentity;

/// Sends dead letters again.
#[derive(Debug)]
pub struct Replayer {
    /// Lookups by key.
    pub pool: Pool,
    /// Where commands go. Emails go by the outbox.
    pub publisher: Publisher,
    /// How fast, and when to stop.
    pub pace: Pace,
}

/// Dead letters sent before their confirms are awaited. Each belongs to another member, so that none can overtake one
/// of its own; a broker confirms as many in the time of a few.
const WAVE_DEAD_LETTERS: usize = 100;

/// How often the hold on the dead letters is renewed, at least: several times before it ends.
const RENEW: Duration = Duration::from_secs(20);

/// How long results are awaited after the replay was told to stop, or could not go on. What has none by then is
/// recorded later.
const LAST_RESULTS: Duration = Duration::from_secs(5);

impl Replayer {
    /// Replays those of the dead letters that can be claimed. `told` hears how many are sent and concluded.
    ///
    /// An error is the database's. What this replay held then is free for others within two minutes.
    pub async fn run(
        &self,
        ids: &[DeadLetterId],
        approval: &OperatorApproval,
        stop: &CancellationToken,
        told: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<ReplayOutcome, StoreError> {
        // First what earlier replays left: a dead letter whose result is known need not be sent again.
        dead_letters::settle_abandoned(&self.pool).await?;
        let claimed = dead_letters::claim(&self.pool, ids, approval).await?;
        let mut run = Run::new(self, claimed, told);
        run.outcome.ended = run.send_all(stop).await?;
        run.finish(stop).await?;
        if run.outcome.ended == Ended::Finished && run.progress.sent == 0 {
            run.outcome.ended = Ended::NothingSent;
        }
        Ok(run.outcome)
    }
}

/// A replay under way.
struct Run<'a> {
    replayer: &'a Replayer,
    replay: Replay,
    /// Not sent yet, in the order of arrival.
    waiting: VecDeque<Item>,
    /// Sent, and without a result yet, in the order of sending.
    unanswered: Vec<(DeadLetterId, Command)>,
    /// The command ids that dead letters of this replay used up, and for what.
    used: HashSet<CommandIdentity>,
    renewed_at: Instant,
    next_wave_at: Instant,
    progress: Progress,
    told: &'a mut (dyn FnMut(Progress) + Send),
    outcome: ReplayOutcome,
}

/// A dead letter and what there is to send.
struct Item {
    id: DeadLetterId,
    content: ReplayMessage,
}

impl Item {
    fn member(&self) -> Option<&MemberId> {
        match &self.content {
            ReplayMessage::Command(command) => Some(&command.member_id),
            ReplayMessage::Email(_) | ReplayMessage::Broken(_) => None,
        }
    }
}

impl<'a> Run<'a> {
    fn new(replayer: &'a Replayer, claimed: Claimed, told: &'a mut (dyn FnMut(Progress) + Send)) -> Self {
        let item =
            |dead_letter: &Replayable| Item { id: dead_letter.dead_letter_id, content: ReplayMessage::of(dead_letter) };
        let waiting: VecDeque<Item> = claimed.dead_letters.iter().map(item).collect();
        let outcome = ReplayOutcome {
            concluded: Vec::new(),
            unanswered: Vec::new(),
            released: Vec::new(),
            held: claimed.held,
            done: claimed.done,
            missing: claimed.missing,
            ended: Ended::Finished,
        };
        Self {
            replayer,
            replay: claimed.replay,
            progress: Progress { claimed: waiting.len(), sent: 0, concluded: 0 },
            waiting,
            unanswered: Vec::new(),
            used: HashSet::new(),
            renewed_at: Instant::now(),
            next_wave_at: Instant::now(),
            told,
            outcome,
        }
    }

    /// Sends everything, the canary first, and says why it ended.
    async fn send_all(&mut self, stop: &CancellationToken) -> Result<Ended, StoreError> {
        if let Some(canary) = self.replayer.pace.canary {
            let ended = self.send(canary.dead_letters.get(), stop).await?;
            if ended != Ended::Finished || self.waiting.is_empty() {
                return Ok(ended);
            }
            self.await_results(self.replayer.pace.patience, Some(stop)).await?;
            if !self.unanswered.is_empty() {
                return Ok(if stop.is_cancelled() { Ended::Stopped } else { Ended::CanaryUnanswered });
            }
            if let Some((failed, of)) = canary.failed(&self.outcome.concluded) {
                return Ok(Ended::CanaryFailed { failed, of });
            }
        }
        self.send(usize::MAX, stop).await
    }

    /// Sends the next dead letters, at most so many, wave after wave, and records results in between.
    async fn send(&mut self, mut most: usize, stop: &CancellationToken) -> Result<Ended, StoreError> {
        while most > 0 && !self.waiting.is_empty() {
            if stop.run_until_cancelled(tokio::time::sleep_until(self.next_wave_at)).await.is_none() {
                return Ok(Ended::Stopped);
            }
            if !self.renewed().await? {
                return Ok(Ended::Overtaken);
            }
            let wave = self.next_wave(most.min(self.replayer.pace.wave(WAVE_DEAD_LETTERS)));
            most = most.saturating_sub(wave.len());
            self.next_wave_at = self.replayer.pace.after(Instant::now(), wave.len());
            if let Err(failure) = self.send_wave(wave).await? {
                return Ok(Ended::Broker(failure));
            }
            self.settle().await?;
        }
        Ok(Ended::Finished)
    }

    /// The next dead letters of as many members.
    fn next_wave(&mut self, most: usize) -> Vec<Item> {
        let mut members = HashSet::new();
        let mut wave = Vec::new();
        while wave.len() < most
            && self.waiting.front().is_some_and(|item| item.member().is_none_or(|id| members.insert(id.clone())))
        {
            wave.extend(self.waiting.pop_front());
        }
        wave
    }

    async fn send_wave(&mut self, wave: Vec<Item>) -> Result<Result<(), PublishError>, StoreError> {
        let (mut commands, mut requests) = (Vec::new(), Vec::new());
        for Item { id, content } in wave {
            match content {
                ReplayMessage::Command(command) => commands.push((id, command)),
                ReplayMessage::Email(email_id) => requests.push((id, email_id)),
                ReplayMessage::Broken(unusable) => self.release(&[id], &unusable.error).await?,
            }
        }
        self.send_emails(&requests).await?;
        Ok(self.send_commands(commands).await)
    }

    async fn send_emails(&mut self, requests: &[(DeadLetterId, EmailId)]) -> Result<(), StoreError> {
        if requests.is_empty() {
            return Ok(());
        }
        let concluded = emails::requeue_dead_letters(&self.replayer.pool, &self.replay, requests).await?;
        let known: HashSet<DeadLetterId> = concluded.iter().map(|(id, _)| *id).collect();
        let left: Vec<DeadLetterId> = requests.iter().map(|(id, _)| *id).filter(|id| !known.contains(id)).collect();
        self.progress.sent += concluded.len();
        self.conclude(concluded);
        self.release(&left, "its email may have gone already: see `loyalty emails resend-unknown`").await
    }

    /// Hands commands over until one is not taken, then waits for the confirms of the others.
    async fn send_commands(&mut self, commands: Vec<(DeadLetterId, Command)>) -> Result<(), PublishError> {
        let mut failure = None;
        let mut promises = Vec::with_capacity(commands.len());
        for (id, command) in commands {
            if failure.is_some() {
                self.not_sent(id, command);
                continue;
            }
            match self.replayer.publisher.submit(message(id, &command)).await {
                Ok(unconfirmed) => promises.push((id, command, unconfirmed)),
                Err(error) => {
                    self.not_sent(id, command);
                    failure = Some(error);
                }
            }
        }
        for (id, command, unconfirmed) in promises {
            match unconfirmed.confirmed().await {
                Ok(_) => self.sent(id, command),
                Err(error) => {
                    // What may arrive is as good as sent: its result tells.
                    if error.may_arrive() {
                        self.sent(id, command);
                    } else {
                        self.not_sent(id, command);
                    }
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Waits again, to be released.
    fn not_sent(&mut self, id: DeadLetterId, command: Command) {
        self.waiting.push_back(Item { id, content: ReplayMessage::Command(command) });
    }

    fn sent(&mut self, id: DeadLetterId, command: Command) {
        self.unanswered.push((id, command));
        self.progress.sent += 1;
        (self.told)(self.progress);
    }

    fn conclude(&mut self, concluded: Vec<(DeadLetterId, Concluded)>) {
        self.progress.concluded += concluded.len();
        self.outcome.concluded.extend(concluded);
        (self.told)(self.progress);
    }

    /// Lets go of dead letters that were not sent.
    async fn release(&mut self, ids: &[DeadLetterId], why: &str) -> Result<(), StoreError> {
        if !ids.is_empty() {
            dead_letters::release(&self.replayer.pool, &self.replay, ids, why).await?;
            self.outcome.released.extend(ids);
        }
        Ok(())
    }

    /// Lets go of what was not sent, waits for the last results, and leaves what has none.
    async fn finish(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        let mut rest: Vec<DeadLetterId> = self.waiting.drain(..).map(|item| item.id).collect();
        rest.sort_unstable();
        let why = self.outcome.ended.to_string();
        self.release(&rest, &why).await?;
        let (patience, stop) = match self.outcome.ended {
            Ended::Finished | Ended::NothingSent => (self.replayer.pace.patience, Some(stop)),
            Ended::Stopped
            | Ended::CanaryFailed { .. }
            | Ended::CanaryUnanswered
            | Ended::Broker(_)
            | Ended::Overtaken => (LAST_RESULTS.min(self.replayer.pace.patience), None),
        };
        self.await_results(patience, stop).await?;
        if !self.unanswered.is_empty() {
            dead_letters::leave(&self.replayer.pool, &self.replay).await?;
        }
        self.outcome.unanswered = self.unanswered.iter().map(|(id, _)| *id).collect();
        self.outcome.released.sort_unstable();
        Ok(())
    }
}
