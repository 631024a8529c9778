//! What members have of points in all, for a gauge. The whole balance sheet is `verify`'s.

use crate::pool::{Pool, StoreError};

/// Of all members, as stored. A float holds any sum, to a millionth of a millionth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Books {
    /// To spend, and held.
    pub outstanding: f64,
    /// Debt.
    pub owed: f64,
}

/// Reads every member's row.
const BOOKS: &str = "
    select coalesce(sum(balance::float8 + held::float8), 0), coalesce(sum(debt::float8), 0) from member";

/// Sums up all members. Call it with a pool for queries.
pub async fn books(pool: &Pool) -> Result<Books, StoreError> {
    let row = pool.get().await?.query_one(BOOKS, &[]).await?;
    Ok(Books { outstanding: row.get(0), owed: row.get(1) })
}
