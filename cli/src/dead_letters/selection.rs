//! Which letters a command that changes something is about: by their numbers, or by a filter, and never all of them
//! by forgetting to say which.

use loyalty_store::letters::{self, LetterId, LetterState};
use loyalty_store::{Pool, StoreError};

use super::filter::FilterArgs;
use crate::exit::Usage;

/// The most letters of one command: as many as are held in memory and claimed in one transaction.
pub(super) const LETTERS_MAX: u32 = 10_000;

/// The flags that choose.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Selection {
    /// The numbers of the letters
    #[arg(value_name = "ID")]
    ids: Vec<LetterId>,
    /// All that are open
    #[arg(long)]
    all: bool,
    /// At most so many, the oldest first
    #[arg(long, value_name = "N", default_value_t = LETTERS_MAX)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(LETTERS_MAX)))]
    limit: u32,
    #[command(flatten)]
    filter: FilterArgs,
}

/// The letters of one command, fixed before anything is done: what is set aside meanwhile is none of them.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) ids: Vec<LetterId>,
    /// Whether the filter matches more than these.
    pub(super) more: bool,
}

impl Selection {
    /// Finds them. `usual` are the states that are meant when nothing is said of them.
    pub(super) async fn find(&self, pool: &Pool, usual: &[LetterState]) -> anyhow::Result<Choice> {
        if !self.ids.is_empty() {
            if self.all || !self.filter.is_empty() {
                return Err(Usage("give the numbers of letters, or a filter, not both".to_owned()).into());
            }
            return Ok(self.by_number());
        }
        if !self.all && self.filter.is_empty() {
            let text = "which letters? Give their numbers, a filter such as --reason failed, or --all";
            return Err(Usage(text.to_owned()).into());
        }
        let filter = self.filter.letters(usual)?;
        Ok(self.by_filter(pool, &filter).await?)
    }

    fn by_number(&self) -> Choice {
        let mut ids = self.ids.clone();
        ids.sort_unstable();
        ids.dedup();
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = ids.len() > limit;
        ids.truncate(limit);
        Choice { ids, more }
    }

    async fn by_filter(&self, pool: &Pool, filter: &letters::Filter) -> Result<Choice, StoreError> {
        let mut ids = letters::matching(pool, filter, self.limit + 1).await?;
        let more = ids.len() > usize::try_from(self.limit).unwrap_or(usize::MAX);
        if more {
            ids.pop();
        }
        Ok(Choice { ids, more })
    }
}
