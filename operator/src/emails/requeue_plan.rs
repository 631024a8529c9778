//! Queueing emails again: those that did not go, or may not have gone.

use std::collections::{BTreeMap, HashMap};

use loyalty_store::emails::{self, EmailId, EmailState, Filter, Requeue, Requeued};
use loyalty_store::{Pool, StoreError};
use serde::Serialize;
use uuid::Uuid;

use crate::OperatorApproval;

/// The most emails of one operation, all of them in one transaction.
pub const EMAILS_MAX: u32 = 10_000;

/// Which emails somebody asked for.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These, whatever their state.
    Ids(Vec<EmailId>),
    /// The oldest that match, at most so many.
    Matching(Filter, u32),
}

/// What would be queued again.
#[derive(Clone, Debug)]
pub struct RequeuePlan {
    what: Requeue,
    ids: Vec<EmailId>,
    states: HashMap<EmailId, EmailState>,
    /// How many there are to queue, by where they stand.
    pub counts: BTreeMap<EmailState, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequeueReport {
    pub queued: Vec<Uuid>,
    /// Left as they are, because of where they stand.
    pub left: Vec<Left>,
    /// There are no such emails.
    pub missing: Vec<Uuid>,
}

/// An email that was left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    pub email_id: Uuid,
    pub state: EmailState,
}

impl Selection {
    async fn find(self, pool: &Pool) -> Result<Vec<EmailId>, StoreError> {
        let mut ids = match self {
            Self::Matching(filter, limit) => return emails::matching(pool, &filter, limit).await,
            Self::Ids(ids) => ids,
        };
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }
}

impl RequeuePlan {
    /// Looks at them.
    pub async fn make(pool: &Pool, selection: Selection, what: Requeue) -> Result<Self, StoreError> {
        let ids = selection.find(pool).await?;
        let states = emails::states(pool, &ids).await?;
        let mut counts = BTreeMap::new();
        for state in states.values().filter(|state| what.fits(**state)) {
            *counts.entry(*state).or_default() += 1;
        }
        Ok(Self { what, ids, states, counts })
    }

    /// Whether there is nothing to queue.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Queues them. One that has moved since the plan, by another operator's hand or its own, is left.
    pub async fn carry_out(self, pool: &Pool, approval: &OperatorApproval) -> Result<RequeueReport, StoreError> {
        Ok(emails::requeue(pool, &self.ids, &self.states, self.what, approval).await?.into())
    }

    /// The report of doing nothing.
    pub fn nothing_done(self) -> RequeueReport {
        let state = |id: &EmailId| self.states.get(id).copied();
        let requeued = Requeued {
            queued: Vec::new(),
            left: self.ids.iter().filter_map(|id| Some((*id, state(id)?))).collect(),
            missing: self.ids.iter().copied().filter(|id| state(id).is_none()).collect(),
        };
        requeued.into()
    }
}

impl From<Requeued> for RequeueReport {
    fn from(requeued: Requeued) -> Self {
        let uuids = |ids: Vec<EmailId>| ids.into_iter().map(EmailId::uuid).collect();
        let left = requeued.left.into_iter().map(|(id, state)| Left { email_id: id.uuid(), state });
        Self { queued: uuids(requeued.queued), left: left.collect(), missing: uuids(requeued.missing) }
    }
}

impl RequeueReport {
    /// Whether something was queued, and every id was that of an email.
    pub const fn is_success(&self) -> bool {
        !self.queued.is_empty() && self.missing.is_empty()
    }
}
