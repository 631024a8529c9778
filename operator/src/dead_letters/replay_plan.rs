//! What a replay would come to, before anybody is asked.

use loyalty_store::dead_letters::{self, DeadLetterId, DeadLetterState, Reason, Replayable};
use loyalty_store::{Pool, StoreError};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{ReplayReport, Selected};
use crate::OperatorApproval;
use crate::dry_run::{Prediction, dry_run};
use crate::replay::{Progress, Replayer};
use loyalty_ledger::Programme;

/// The states of dead letters that nothing is decided about.
pub const UNDECIDED: [DeadLetterState; 2] = [DeadLetterState::Open, DeadLetterState::Replaying];

/// A dead letter with what its replay would come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Predicted {
    pub dead_letter_id: DeadLetterId,
    /// The member it is about, if it is a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_id: Option<String>,
    /// What its replay would come to.
    #[serde(flatten)]
    pub prediction: Prediction,
}

/// A dead letter that was replayed or discarded before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settled {
    pub dead_letter_id: DeadLetterId,
    /// What was made of it.
    pub state: DeadLetterState,
}

/// What would become of the selected dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplayPlan {
    /// What each that nothing is decided about would come to.
    pub predicted: Vec<Predicted>,
    /// Replayed or discarded before.
    pub done: Vec<Settled>,
    /// Numbers of no dead letter.
    pub missing: Vec<DeadLetterId>,
    /// Whether more were asked for than were looked at.
    pub more: bool,
    /// How many of those to be sent ended their worker before.
    pub crashed: usize,
    /// How many another replay holds, or has left behind.
    pub replaying: usize,
}

impl ReplayPlan {
    /// Looks at them, and tries each in a transaction that is rolled back.
    pub async fn make(pool: &Pool, programme: &Programme, selected: &Selected) -> Result<Self, StoreError> {
        let dead_letters = dead_letters::replayable(pool, &selected.ids).await?;
        let is_known =
            |id: &DeadLetterId| dead_letters.binary_search_by_key(id, |dead_letter| dead_letter.dead_letter_id).is_ok();
        let missing = selected.ids.iter().copied().filter(|id| !is_known(id)).collect();
        let (undecided, settled): (Vec<_>, Vec<_>) =
            dead_letters.into_iter().partition(|dead_letter| UNDECIDED.contains(&dead_letter.state));
        let predictions = dry_run(pool, programme, &undecided).await?;
        Ok(Self {
            crashed: undecided.iter().zip(&predictions).filter(|(dead_letter, it)| may_crash(dead_letter, it)).count(),
            replaying: undecided.iter().filter(|dead_letter| dead_letter.state == DeadLetterState::Replaying).count(),
            predicted: undecided
                .iter()
                .zip(predictions)
                .map(|(dead_letter, it)| Predicted::new(dead_letter, it))
                .collect(),
            done: settled.iter().map(Settled::of).collect(),
            missing,
            more: selected.more,
        })
    }

    /// Those that are not bound to come back.
    pub fn worth_sending(&self) -> Vec<DeadLetterId> {
        let worth = self.predicted.iter().filter(|it| it.prediction.is_worth_sending());
        worth.map(|it| it.dead_letter_id).collect()
    }

    /// Whether what was asked for is neither there nor missing: a filter that matches nothing.
    pub const fn matches_nothing(&self) -> bool {
        self.predicted.is_empty() && self.done.is_empty() && self.missing.is_empty()
    }

    /// Sends those that are worth it. `told` hears how many are sent and concluded.
    pub async fn carry_out(
        self,
        replayer: &Replayer,
        approval: &OperatorApproval,
        stop: &CancellationToken,
        told: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<ReplayReport, StoreError> {
        let report = replayer.run(&self.worth_sending(), approval, stop, told).await?;
        Ok(ReplayReport::new(self, report))
    }
}

/// An email is only queued, by a statement of our own.
fn may_crash(dead_letter: &Replayable, prediction: &Prediction) -> bool {
    dead_letter.reason == Reason::Crashed && prediction.is_worth_sending() && *prediction != Prediction::Queued
}

impl Predicted {
    fn new(dead_letter: &Replayable, prediction: Prediction) -> Self {
        let member_id = dead_letter.command().ok().map(|command| command.member_id.to_string());
        Self { dead_letter_id: dead_letter.dead_letter_id, member_id, prediction }
    }
}

impl Settled {
    const fn of(dead_letter: &Replayable) -> Self {
        Self { dead_letter_id: dead_letter.dead_letter_id, state: dead_letter.state }
    }
}
