//! The mails of rewards, for an operator to look at, and to queue anew when they did not go.

mod details;
mod requeue_plan;

use loyalty_store::emails::{self, EmailId, Filter, ListedMail};
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
) -> Result<Vec<ListedMail>, StoreError> {
    pages(limit, async |last: Option<&ListedMail>, left| {
        emails::list(pool, filter, last.map(|mail| EmailId::from(mail.email_id)).or(after), left).await
    })
    .await
}
