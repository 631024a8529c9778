//! Which dead letters an operation is about: by their numbers, or by a filter.

use loyalty_store::dead_letters::{self, DeadLetterId, Filter};
use loyalty_store::{Pool, StoreError};

/// The most dead letters of one operation: as many as are held in memory and claimed in one transaction.
pub const DEAD_LETTERS_MAX: u32 = 10_000;

/// What somebody asked for.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These, whatever their state.
    Ids(Vec<DeadLetterId>),
    Matching(Filter),
}

/// The dead letters of one operation, fixed before anything is done: what is set aside meanwhile is none of them.
#[derive(Clone, Debug)]
pub struct Selected {
    /// In the order of their arrival, each once.
    pub ids: Vec<DeadLetterId>,
    /// Whether more were asked for than these.
    pub more: bool,
}

impl Selection {
    /// Finds them, at most `limit`, the oldest first.
    pub async fn find(self, pool: &Pool, limit: u32) -> Result<Selected, StoreError> {
        let mut ids = match self {
            Self::Ids(ids) => ids,
            Self::Matching(filter) => dead_letters::matching(pool, &filter, limit + 1).await?,
        };
        ids.sort_unstable();
        ids.dedup();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = ids.len() > limit;
        ids.truncate(limit);
        Ok(Selected { ids, more })
    }
}
