//! What a replay foresaw, what it did, and what it left.

use loyalty_store::dead_letters::{Concluded, DeadLetterId, Held};
use serde::{Serialize, Serializer};

use super::{ReplayPlan, Settled};
use crate::replay::{Ended, ReplayOutcome};

/// What a dead letter's replay came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conclusion {
    pub dead_letter_id: DeadLetterId,
    #[serde(flatten)]
    pub concluded: Concluded,
}

/// Everything about a replay, or about the plan of one that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// What was predicted, and what was not for this replay.
    #[serde(flatten)]
    pub plan: ReplayPlan,
    /// What became of those that were sent, in the order of their arrival.
    pub concluded: Vec<Conclusion>,
    /// Sent, and without a result yet.
    pub unanswered: Vec<DeadLetterId>,
    /// Not sent; open again.
    pub released: Vec<DeadLetterId>,
    /// In the hands of another replay.
    pub held: Vec<Held>,
    /// Why the replay ended; none, if there was none.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub ended: Option<Ended>,
}

#[expect(clippy::ref_option, reason = "serde asks so")]
fn as_text<S: Serializer>(ended: &Option<Ended>, serializer: S) -> Result<S::Ok, S::Error> {
    ended.as_ref().map(ToString::to_string).serialize(serializer)
}

impl From<ReplayPlan> for ReplayReport {
    fn from(plan: ReplayPlan) -> Self {
        let (unanswered, released) = (Vec::new(), Vec::new());
        Self { plan, concluded: Vec::new(), unanswered, released, held: Vec::new(), ended: None }
    }
}

impl ReplayReport {
    /// What a replay made of its plan.
    pub fn new(mut plan: ReplayPlan, outcome: ReplayOutcome) -> Self {
        let ReplayOutcome { concluded, unanswered, released, held, done, missing, ended } = outcome;
        let settled = |(dead_letter_id, state)| Settled { dead_letter_id, state };
        plan.done.extend(done.into_iter().map(settled));
        plan.missing.extend(missing);
        let conclusion = |(dead_letter_id, concluded)| Conclusion { dead_letter_id, concluded };
        let mut concluded: Vec<Conclusion> = concluded.into_iter().map(conclusion).collect();
        concluded.sort_by_key(|it| it.dead_letter_id);
        Self { plan, concluded, unanswered, released, held, ended: Some(ended) }
    }

    /// Whether the replay came to its end, each that was to be sent has its result, and none failed again.
    pub fn is_success(&self) -> bool {
        let failed = self.concluded.iter().any(|it| matches!(it.concluded, Concluded::Dead { .. }));
        let is_finished = matches!(self.ended, Some(Ended::Finished | Ended::NothingSent));
        is_finished && !failed && self.unanswered.is_empty() && self.released.is_empty() && self.held.is_empty()
    }
}
