//! Members of whom something is due: points whose day is over, or holds that have run out.

use jiff::Timestamp;
use loyalty_common::MemberId;
use loyalty_common::partition::PARTITIONS;

use crate::pool::{Pool, StoreError};

/// Those of whom something was due at `until` or before, at most `limit` of each partition: of each the longest due.
pub async fn members(pool: &Pool, until: Timestamp, limit: u32) -> Result<Vec<MemberId>, StoreError> {
    let due = format!(
        "select due.member_id from generate_series(0, {LAST}) as p (number)
         cross join lateral (
             select member_id from member where partition = p.number and due_at <= $1
             order by due_at limit $2) as due",
        LAST = PARTITIONS - 1
    );
    let rows = pool.get().await?.query(&due, &[&until, &i64::from(limit)]).await?;
    let member = |row: &tokio_postgres::Row| {
        MemberId::parse(row.get(0)).map_err(|_| StoreError::UnexpectedValue { column: "member_id" })
    };
    rows.iter().map(member).collect()
}
