//! Discarding: dead letters that will not be sent again. They are kept, with the reason; what their senders wrote in
//! them, until it is erased.

use std::collections::BTreeMap;

use loyalty_store::dead_letters::{self, DeadLetterId, DeadLetterState, Erased, Reason};
use loyalty_store::{Pool, StoreError};
use serde::Serialize;

use super::Selected;
use crate::OperatorApproval;

/// What becomes of the bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposal {
    /// They are kept.
    Keep,
    /// They are gone for good, of those discarded or replayed before too, and so are headers and routing keys.
    Erase,
}

/// What would be discarded.
#[derive(Clone, Debug)]
pub struct DiscardPlan {
    selected: Selected,
    found: Vec<DeadLetterId>,
    /// Numbers of no dead letter.
    missing: Vec<DeadLetterId>,
    /// What becomes of the bodies.
    pub disposal: Disposal,
    /// How many dead letters of each reason there is something to do for.
    pub reasons: BTreeMap<Reason, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiscardReport {
    /// Will not be sent again.
    pub discarded: Vec<DeadLetterId>,
    /// Those of them, and of the ones done with before, that hold no body any more.
    pub erased: Vec<DeadLetterId>,
    /// Not open, so left as they are.
    pub left: Vec<DeadLetterId>,
    /// Numbers of no dead letter.
    pub missing: Vec<DeadLetterId>,
}

impl DiscardPlan {
    /// Looks at them.
    pub async fn make(pool: &Pool, selected: Selected, disposal: Disposal) -> Result<Self, StoreError> {
        let dead_letters = dead_letters::replayable(pool, &selected.ids).await?;
        let mut reasons = BTreeMap::new();
        for dead_letter in dead_letters.iter().filter(|dead_letter| disposal.concerns(dead_letter.state)) {
            *reasons.entry(dead_letter.reason).or_default() += 1;
        }
        let found: Vec<DeadLetterId> = dead_letters.iter().map(|dead_letter| dead_letter.dead_letter_id).collect();
        let missing = selected.ids.iter().copied().filter(|id| !found.contains(id)).collect();
        Ok(Self { selected, found, missing, disposal, reasons })
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Whether more were asked for than these.
    pub const fn more(&self) -> bool {
        self.selected.more
    }

    /// Does it. What was taken or decided by somebody else meanwhile is left.
    pub async fn carry_out(self, pool: &Pool, approval: &OperatorApproval) -> Result<DiscardReport, StoreError> {
        let ids = &self.selected.ids;
        let done = match self.disposal {
            Disposal::Keep => {
                Erased { discarded: dead_letters::discard(pool, ids, approval).await?, erased: Vec::new() }
            }
            Disposal::Erase => dead_letters::erase(pool, ids, approval).await?,
        };
        Ok(self.report(done))
    }

    /// The report of doing nothing.
    pub fn nothing_done(self) -> DiscardReport {
        self.report(Erased::default())
    }

    fn report(self, Erased { discarded, erased }: Erased) -> DiscardReport {
        let done = match self.disposal {
            Disposal::Keep => &discarded,
            Disposal::Erase => &erased,
        };
        let left = self.found.into_iter().filter(|id| done.binary_search(id).is_err()).collect();
        DiscardReport { discarded, erased, left, missing: self.missing }
    }
}

impl Disposal {
    /// Whether there is something to do for a dead letter in this state.
    const fn concerns(self, state: DeadLetterState) -> bool {
        match state {
            DeadLetterState::Open => true,
            DeadLetterState::Discarded | DeadLetterState::Replayed => matches!(self, Self::Erase),
            DeadLetterState::Replaying => false,
        }
    }
}

impl DiscardReport {
    /// Whether something was done, and every number was that of a dead letter.
    pub const fn is_success(&self) -> bool {
        (!self.discarded.is_empty() || !self.erased.is_empty()) && self.missing.is_empty()
    }
}
