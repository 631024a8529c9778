//! What a sender of whole files asks before it sends: who is a member already, and what time the database has.

use std::collections::HashMap;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use loyalty_common::MemberId;
use loyalty_ledger::MemberStatus;
use tokio_postgres::Row;

use crate::member_row::member_id;
use crate::partition::{grouped, partition};
use crate::pool::{Pool, StoreError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownMember {
    pub status: MemberStatus,
    /// Whether there is an address to email rewards to.
    pub has_email: bool,
    /// Whether somebody cleared the address of this membership on purpose. Then no file gives it back.
    pub email_cleared: bool,
}

/// One byte, 0, is what the ledger keeps of an address that a command cleared. It is looked for only where there is
/// none, and member by member: `limit` keeps the planner from reading the whole ledger.
const STATUSES: &str = r"
    select member_id, status, email is not null as has_email,
           status = 'active' and email is null and coalesce((
               select true from ledger as l
               where l.partition = $2 and l.member_id = m.member_id and l.epoch = m.epoch and l.code is null
                 and l.email_hmac = '\x00' limit 1), false) as email_cleared
    from member as m where partition = $2 and member_id = any($1)";

/// Where each of the members stands whom the database knows.
pub async fn statuses(pool: &Pool, members: &[MemberId]) -> Result<HashMap<MemberId, KnownMember>, StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(STATUSES).await?;
    let (client, statement) = (&client, &statement);
    let groups = grouped(members, |member| partition(member));
    let of_groups = groups.into_iter().map(async |(partition, members)| {
        let ids: Vec<&str> = members.into_iter().map(MemberId::as_str).collect();
        client.query(statement, &[&ids, &partition]).await
    });
    let rows = try_join_all(of_groups).await?;
    let status = |row: &Row| {
        let status =
            MemberStatus::parse(row.get("status")).ok_or(StoreError::UnexpectedValue { column: "member.status" })?;
        let (has_email, email_cleared) = (row.get("has_email"), row.get("email_cleared"));
        Ok((member_id(row)?, KnownMember { status, has_email, email_cleared }))
    };
    rows.iter().flatten().map(status).collect()
}

/// The database's clock: what is compared with times in its rows must come from it.
pub async fn clock(pool: &Pool) -> Result<Timestamp, StoreError> {
    Ok(pool.get().await?.query_one("select now()", &[]).await?.get(0))
}
