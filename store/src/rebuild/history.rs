//! Who had a member recomputed, when, why, and what it changed. Lines are added and never changed.

use deadpool_postgres::Client;
use jiff::Timestamp;
use loyalty_common::MemberId;
use serde::Serialize;
use tokio_postgres::Row;

use super::Difference;
use crate::approval::OperatorApproval;
use crate::partition::partition;
use crate::pool::{Pool, StoreError};

/// One line of a member's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    pub at: Timestamp,
    pub actor: String,
    pub note: Option<String>,
    /// What was changed: "balance 150 -> 100".
    pub changes: String,
}

/// Lines that a person can read.
const LINES_MAX: i64 = 100;

const HISTORY: &str = "
    select at, actor, note, changes from operator_event
    where partition = $3 and member_id = $1 order by operator_event_id limit $2";

const RECORD: &str = "
    insert into operator_event (partition, member_id, at, actor, action, note, changes)
    values ($5, $1, now(), $2, 'rebuilt', $3, $4)";

/// How often a member was repaired, the first time first.
pub async fn history(pool: &Pool, member_id: &MemberId) -> Result<Vec<Rebuilt>, StoreError> {
    let rows = pool.get().await?.query(HISTORY, &[&member_id.as_str(), &LINES_MAX, &partition(member_id)]).await?;
    Ok(rows.iter().map(rebuilt).collect())
}

pub(super) async fn record(
    client: &Client,
    member_id: &MemberId,
    repaired: &[&Difference],
    permission: &OperatorApproval,
) -> Result<(), StoreError> {
    let changes: Vec<String> = repaired.iter().map(|it| change(it)).collect();
    let changes = changes.join(", ");
    let (actor, note) = (permission.actor(), permission.note());
    client.execute(RECORD, &[&member_id.as_str(), &actor, &note, &changes, &partition(member_id)]).await?;
    Ok(())
}

fn change(Difference { what, which, epoch, stored, computed, .. }: &Difference) -> String {
    let which = which.as_ref().map(|which| format!(" {which}")).unwrap_or_default();
    let of = epoch.map(|epoch| format!(" of membership {epoch}")).unwrap_or_default();
    format!("{what}{which}{of} {stored} -> {computed}")
}

fn rebuilt(row: &Row) -> Rebuilt {
    Rebuilt { at: row.get("at"), actor: row.get("actor"), note: row.get("note"), changes: row.get("changes") }
}
