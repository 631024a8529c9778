//! Dead letters, for an operator to look at, replay, edit or discard. What changes something is planned first.

mod body;
mod details;
mod discard;
mod edit;
mod export;
mod masking;
mod replay_plan;
mod replay_report;
mod selection;

use loyalty_store::dead_letters::{self, DeadLetter, DeadLetterId, Filter};
use loyalty_store::{Pool, StoreError};

pub use body::{pretty, readable};
pub use details::Details;
pub(crate) use details::without_personal;
pub use discard::{DiscardPlan, DiscardReport, Disposal};
pub use edit::{EditProblem, EditReport, check, edit};
pub use export::{ExportError, export};
pub use replay_plan::{Predicted, ReplayPlan, Settled, UNDECIDED};
pub use replay_report::{Conclusion, ReplayReport};
pub use selection::{DEAD_LETTERS_MAX, Selected, Selection};

use crate::paging::pages;

/// Those that a filter matches, the oldest first, after `after`.
pub async fn list(
    pool: &Pool,
    filter: &Filter,
    after: Option<DeadLetterId>,
    limit: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    pages(limit, async |last: Option<&DeadLetter>, left| {
        dead_letters::list(pool, filter, last.map(|dead_letter| dead_letter.dead_letter_id).or(after), left).await
    })
    .await
}
