//! What a sender of whole files asks before it sends: who is a member already, and what time the database has.

use std::collections::HashMap;

use jiff::Timestamp;
use loyalty_common::MemberId;
use tokio_postgres::Row;

use crate::pool::{Pool, StoreError};
use crate::rows::MemberStatus;

const STATUSES: &str = "select member_id, status from member where member_id = any($1)";

/// Where each of the members stands whom the database knows.
pub async fn statuses(pool: &Pool, members: &[MemberId]) -> Result<HashMap<MemberId, MemberStatus>, StoreError> {
    let ids: Vec<&str> = members.iter().map(MemberId::as_str).collect();
    let client = pool.get().await?;
    let statement = client.prepare_cached(STATUSES).await?;
    let rows = client.query(&statement, &[&ids]).await?;
    let status = |row: &Row| {
        let member = MemberId::parse(row.get("member_id")).map_err(|_| StoreError::Foreign { column: "member_id" })?;
        let status = MemberStatus::parse(row.get("status")).ok_or(StoreError::Foreign { column: "member.status" })?;
        Ok((member, status))
    };
    rows.iter().map(status).collect()
}

/// The database's clock: what is compared with times in its rows must come from it.
pub async fn clock(pool: &Pool) -> Result<Timestamp, StoreError> {
    Ok(pool.get().await?.query_one("select now()", &[]).await?.get(0))
}
