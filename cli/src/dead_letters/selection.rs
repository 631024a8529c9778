//! Which dead letters a command that changes something is about: by their numbers, or by a filter, and never all of
//! them by forgetting to say which.

use loyalty_operator::dead_letters::{self, DEAD_LETTERS_MAX, Selected};
use loyalty_store::Pool;
use loyalty_store::dead_letters::{DeadLetterId, DeadLetterState};

use super::filter::FilterArgs;
use crate::exit::Usage;

/// The flags that select.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Selection {
    /// The numbers of the dead letters
    #[arg(value_name = "ID")]
    ids: Vec<DeadLetterId>,
    /// All open dead letters
    #[arg(long)]
    all: bool,
    /// At most this many, the oldest first
    #[arg(long, value_name = "N", default_value_t = DEAD_LETTERS_MAX)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(DEAD_LETTERS_MAX)))]
    limit: u32,
    #[command(flatten)]
    filter: FilterArgs,
}

impl Selection {
    /// Finds them. `usual` are the states that are meant when nothing is said of them.
    pub(super) async fn find(&self, pool: &Pool, usual: &[DeadLetterState]) -> anyhow::Result<Selected> {
        Ok(self.parse(usual)?.find(pool, self.limit).await?)
    }

    fn parse(&self, usual: &[DeadLetterState]) -> Result<dead_letters::Selection, Usage> {
        let by_filter = self.all || !self.filter.is_empty();
        match (self.ids.is_empty(), by_filter) {
            (false, false) => Ok(dead_letters::Selection::Ids(self.ids.clone())),
            (true, true) => Ok(dead_letters::Selection::Matching(self.filter.dead_letters(usual)?)),
            (false, true) => Err(Usage("give the numbers of dead letters, or a filter, not both".to_owned())),
            (true, false) => {
                let text = "which dead letters? Give their numbers, a filter such as --reason failed, or --all";
                Err(Usage(text.to_owned()))
            }
        }
    }
}
