//! The programmes that decided the rows: each is kept, and workers of two of them are not at work at once.

use tokio_postgres::Transaction;

use super::{Check, Warning};
use crate::pool::StoreError;

pub(super) const CHECKS: &[Check] = &[Check {
    name: "programmes",
    promise: "the programme that decided a row is kept, as its digest says",
    examined: "select count(*) from ledger",
    // 0: not known.
    broken: "
        select format('programme %s', programme), format('decided %s rows and is not kept', count(*))
        from ledger where programme <> 0 and not exists (select from programme where programme_id = programme)
        group by programme
        union all
        select format('programme %s', programme_id), 'is not what its digest says'
        from programme where digest <> sha256(convert_to(text, 'UTF8'))",
}];

/// Programmes that went on deciding rows after another one had begun to, in the last day. One that follows another has
/// no row after it; while workers are brought up to a new one, both have for a moment.
const MIXED: &str = "
    with step as (
        select programme, lag(programme) over (order by recorded_at, programme) as previous
        from ledger where recorded_at > now() - interval '1 day' and programme <> 0)
    select count(*) filter (where programme <> previous), count(distinct programme),
           (select string_agg(programme::text, ', ' order by programme) from (select distinct programme from step) as p)
    from step";

/// Told when workers of different programmes were at work at the same time: a member's points then depend on which of
/// them got the command. What they decided stands, so nothing is broken.
pub(super) async fn warning(transaction: &Transaction<'_>) -> Result<Option<Warning>, StoreError> {
    let row = transaction.query_one(MIXED, &[]).await?;
    let (changes, programmes): (i64, i64) = (row.get(0), row.get(1));
    let is_mixed = changes >= programmes && programmes > 1;
    let text = || {
        let numbers: String = row.get(2);
        format!(
            "in the last day, programmes {numbers} took turns {changes} times: workers run with different settings, or \
             were brought from one to another meanwhile"
        )
    };
    Ok(is_mixed.then(|| Warning { name: "mixed_programmes", text: text() }))
}
