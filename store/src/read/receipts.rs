//! Ledger rows as receipts.

use loyalty_common::{CommandId, EntryType, MemberId, Outcome, Receipt, RefusalCode};
use tokio_postgres::Row;
use uuid::Uuid;

use super::page;
use crate::member_row::member_id;
use crate::partition::partition;
use crate::pool::{Pool, StoreError};

/// The columns that [`read_receipt`] reads.
pub(super) const COLUMNS: &str = "
    member_id, command_id, type, code, points, target_id, expires_at, counts, number, delta,
    coalesce(held_delta, 0) as held_delta, coalesce(debt_delta, 0) as debt_delta, coalesce(written_off, 0) as written_off,
    balance_after, seq, epoch, occurred_at, coalesce(effective_at, occurred_at) as effective_at, recorded_at, reason,
    source_ref";

/// What was decided about a command.
pub async fn receipt(pool: &Pool, member: &MemberId, command: CommandId) -> Result<Option<Receipt>, StoreError> {
    let client = pool.get().await?;
    let query = format!("select {COLUMNS} from ledger where partition = $3 and member_id = $1 and command_id = $2");
    let statement = client.prepare_cached(&query).await?;
    let row = client.query_opt(&statement, &[&member.as_str(), &command.uuid(), &partition(member)]).await?;
    row.as_ref().map(read_receipt).transpose()
}

/// A page of a member's ledger, oldest first, beginning after the row `after_seq`; 0 begins at the first.
pub async fn ledger(pool: &Pool, member: &MemberId, after_seq: i64, limit: u32) -> Result<Vec<Receipt>, StoreError> {
    let client = pool.get().await?;
    let query = format!(
        "select {COLUMNS} from ledger where partition = $4 and member_id = $1 and seq > $2 order by seq limit $3"
    );
    let statement = client.prepare_cached(&query).await?;
    let rows = client.query(&statement, &[&member.as_str(), &after_seq, &page(limit), &partition(member)]).await?;
    rows.iter().map(read_receipt).collect()
}

pub(super) fn read_receipt(row: &Row) -> Result<Receipt, StoreError> {
    let foreign = |column| StoreError::UnexpectedValue { column };
    let code = match row.get::<_, Option<&str>>("code") {
        Some(code) => Some(RefusalCode::parse(code).ok_or(foreign("ledger.code"))?),
        None => None,
    };
    Ok(Receipt {
        member_id: member_id(row)?,
        command_id: CommandId::from(row.get::<_, Uuid>("command_id")),
        r#type: EntryType::parse(row.get("type")).ok_or(foreign("ledger.type"))?,
        outcome: if code.is_none() { Outcome::Applied } else { Outcome::Refused },
        code,
        points: row.get("points"),
        target: row.get::<_, Option<Uuid>>("target_id").map(CommandId::from),
        expires_at: row.get("expires_at"),
        number: row.get("number"),
        delta: row.get("delta"),
        held_delta: row.get("held_delta"),
        debt_delta: row.get("debt_delta"),
        written_off: row.get("written_off"),
        balance_after: row.get("balance_after"),
        seq: row.get("seq"),
        epoch: row.get("epoch"),
        occurred_at: row.get("occurred_at"),
        effective_at: row.get("effective_at"),
        recorded_at: row.get("recorded_at"),
        reason: row.get("reason"),
        source_ref: row.get("source_ref"),
    })
}
