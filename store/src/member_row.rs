//! The numbers of a member, their lots and their holds, read from the rows that hold them.

use jiff::Timestamp;
use loyalty_common::{CommandId, MemberId};
use loyalty_ledger::{Hold, Lot, MemberState, MemberStatus};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::pool::StoreError;

/// As the column `member_id` has it.
pub(crate) fn member_id(row: &Row) -> Result<MemberId, StoreError> {
    MemberId::parse(row.get("member_id")).map_err(|_| StoreError::UnexpectedValue { column: "member_id" })
}

/// As the columns have it: `status`, `epoch`, `milestone`, `balance`, `held`, `debt`, `lifetime`, `peak`, `as_of`.
pub(crate) fn member_state(row: &Row) -> Result<MemberState, StoreError> {
    let lifetime = row.get("lifetime");
    Ok(MemberState {
        status: MemberStatus::parse(row.get("status"))
            .ok_or(StoreError::UnexpectedValue { column: "member.status" })?,
        epoch: row.get("epoch"),
        milestone: row.get("milestone"),
        balance: row.get("balance"),
        held: row.get("held"),
        debt: row.get("debt"),
        lifetime,
        peak: row.get::<_, Option<i64>>("peak").unwrap_or(lifetime),
        as_of: row.get("as_of"),
    })
}

/// As the columns have it: `expires_at`, `expires_on`, `opened_at`, `remaining`, `expired`.
pub(crate) fn lot(row: &Row) -> Lot {
    Lot {
        expires_at: row.get("expires_at"),
        expires_on: row.get("expires_on"),
        opened_at: row.get("opened_at"),
        remaining: row.get("remaining"),
        expired: row.get("expired"),
    }
}

/// As the columns have it: `command_id`, `seq`, `points`, `expires_at`, `lot_expires_at`, `lot_points`.
pub(crate) fn hold(row: &Row) -> Hold {
    let (days, points): (Vec<Timestamp>, Vec<i64>) = (row.get("lot_expires_at"), row.get("lot_points"));
    Hold {
        command_id: CommandId::from(row.get::<_, Uuid>("command_id")),
        seq: row.get("seq"),
        points: row.get("points"),
        expires_at: row.get("expires_at"),
        lots: days.into_iter().zip(points).collect(),
    }
}
