//! Polls for the results of what a replay has sent, records them, and keeps its hold on the dead letters meanwhile.
//!
//! Not `loyalty_store::receipt_poller`, which tells what stands under a command's id: for a replay that may be the
//! outcome of an earlier sending. What this one came to is told by the dead letter's claim and by the dead letter that
//! it became, and recorded as soon as it is found ([`dead_letters::settle`]); which dead letters may be looked up
//! depends on the results of those before them. A poller in front of that would only be a second query for each look.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use loyalty_common::{Command, CommandType, MemberId};
use loyalty_store::StoreError;
use loyalty_store::dead_letters::{self, DeadLetterId, Pending, ReplayResult};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::replay_message::ReplayMessage;
use super::{RENEW, Run};

/// The first wait between two looks at the database: a worker's batch takes about this long.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The longest: what a person does not notice, and a database neither.
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(500);

/// Dead letters looked up in one statement.
const LOOK_DEAD_LETTERS: usize = 1_000;

impl Run<'_> {
    /// Waits until every dead letter that was sent has its result, until none came for as long as `patience`, or until
    /// `stop`.
    pub(super) async fn await_results(
        &mut self,
        patience: Duration,
        stop: Option<&CancellationToken>,
    ) -> Result<(), StoreError> {
        let (mut quiet_since, mut pause) = (Instant::now(), LOOK_AGAIN);
        loop {
            if self.settle().await? > 0 {
                (quiet_since, pause) = (Instant::now(), LOOK_AGAIN);
            }
            if self.unanswered.is_empty() || quiet_since.elapsed() >= patience {
                return Ok(());
            }
            // What another replay has taken over concludes there; here it stays without a result.
            self.renewed().await?;
            match stop {
                Some(stop) if stop.run_until_cancelled(sleep(pause)).await.is_none() => return Ok(()),
                Some(_) => {}
                None => sleep(pause).await,
            }
            pause = (pause * 2).min(LOOK_AGAIN_MAX);
        }
    }

    /// Records the results that are there, and returns how many.
    pub(super) async fn settle(&mut self) -> Result<usize, StoreError> {
        let mut concluded = Vec::new();
        for chunk in self.ready().chunks(LOOK_DEAD_LETTERS) {
            concluded.extend(dead_letters::settle(&self.replayer.pool, &self.replay, chunk).await?);
        }
        let ends: HashMap<DeadLetterId, ReplayResult> = concluded.iter().map(|(id, end)| (*id, end.result())).collect();
        let (answered, unanswered) =
            std::mem::take(&mut self.unanswered).into_iter().partition(|(id, _)| ends.contains_key(id));
        self.unanswered = unanswered;
        let used_up = |(id, _): &(DeadLetterId, Command)| ends[id] != ReplayResult::Dead;
        self.used.extend(Vec::into_iter(answered).filter(used_up).map(|(_, command)| CommandIdentity::of(&command)));
        let count = concluded.len();
        self.conclude(concluded);
        Ok(count)
    }

    /// Dead letters whose result can be told. Of several with the same command the first must have its own before the
    /// others.
    fn ready(&self) -> Vec<Pending> {
        let enrolments = self.enrolments_to_come();
        let mut seen = HashSet::new();
        let mut ready = Vec::new();
        for (id, command) in &self.unanswered {
            let identity = CommandIdentity::of(command);
            let repeats = self.used.contains(&identity);
            if seen.insert(identity) {
                let may_be_released = enrolments.get(&command.member_id).is_some_and(|last| last > id);
                let command = command.clone();
                ready.push(Pending { dead_letter_id: *id, command, repeats, may_be_released });
            }
        }
        ready
    }

    /// The last enrolment of each member among the dead letters that are not sent or have no result yet.
    fn enrolments_to_come(&self) -> HashMap<MemberId, DeadLetterId> {
        let waiting = self.waiting.iter().filter_map(|item| match &item.content {
            ReplayMessage::Command(command) => Some((item.id, command)),
            ReplayMessage::Email(_) | ReplayMessage::Broken(_) => None,
        });
        let all = self.unanswered.iter().map(|(id, command)| (*id, command)).chain(waiting);
        all.filter(|(_, command)| command.command_type() == CommandType::Enroll)
            .map(|(id, command)| (command.member_id.clone(), id))
            .collect()
    }

    /// Renews the hold on the dead letters when it is time. False: some of them are another's by now.
    pub(super) async fn renewed(&mut self) -> Result<bool, StoreError> {
        if self.renewed_at.elapsed() < RENEW {
            return Ok(true);
        }
        let held = dead_letters::renew(&self.replayer.pool, &self.replay).await?;
        self.renewed_at = Instant::now();
        Ok(held >= (self.waiting.len() + self.unanswered.len()) as u64)
    }
}

/// A command id with what it was used for. When it happened is no part of it, nor of a repeat.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CommandIdentity(Command);

impl CommandIdentity {
    fn of(command: &Command) -> Self {
        Self(Command { occurred_at: Timestamp::UNIX_EPOCH, ..command.clone() })
    }
}
