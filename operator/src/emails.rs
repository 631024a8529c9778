//! The emails to members, for an operator to look at, and to queue again when they did not go.

mod details;
mod requeue_plan;

use loyalty_store::emails::{self, EmailId, Filter, ListedEmail};
use loyalty_store::{Pool, StoreError};

pub use details::Details;
pub use requeue_plan::{EMAILS_MAX, Left, RequeuePlan, RequeueReport, Selection};

use crate::paging::pages;

/// Those that a filter matches, the oldest first, after `after`.
pub async fn list(
    pool: &Pool,
    filter: &Filter,
    after: Option<EmailId>,
    limit: u32,
) -> Result<Vec<ListedEmail>, StoreError> {
    pages(limit, async |last: Option<&ListedEmail>, left| {
        emails::list(pool, filter, last.map(|email| EmailId::from(email.email_id)).or(after), left).await
    })
    .await
}
