//! What a command said and did, read from the row of the ledger that it left.

use jiff::Timestamp;
use loyalty_common::{CommandId, EntryType, MemberId, RefusalCode};
use loyalty_ledger::contact::{ContactKey, StatedValue};
use loyalty_ledger::{CommandContent, Effects, Entry, LotChange, MemberStatus, Sheet};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::pool::StoreError;

/// The column `contact_key` beside a row of the ledger: the key with which what is kept of a contact may be compared.
/// The member is not looked for where nothing is kept.
pub(crate) const CONTACT_KEY: &str = "
    case when email_hmac is not null then (
        select contact_key from member
        where member.partition = ledger.partition and member.member_id = ledger.member_id) end as contact_key";

/// The columns that [`content`] reads.
pub(crate) const CONTENT: &str =
    "type, points, target_id, expires_at, counts, number, reason, source_ref, email_hmac, name_hmac";

/// As the columns [`CONTENT`] have it.
pub(crate) fn content(row: &Row, key: Option<&ContactKey>) -> Result<CommandContent, StoreError> {
    Ok(CommandContent {
        entry_type: EntryType::parse(row.get("type")).ok_or(StoreError::UnexpectedValue { column: "ledger.type" })?,
        points: row.get("points"),
        target: row.get::<_, Option<Uuid>>("target_id").map(CommandId::from),
        expires_at: row.get("expires_at"),
        counts: row.get("counts"),
        number: row.get("number"),
        reason: row.get("reason"),
        source_ref: row.get("source_ref"),
        email: StatedValue::from_row(row.get("email_hmac"), key),
        name: StatedValue::from_row(row.get("name_hmac"), key),
    })
}

/// The columns that [`effects`] reads.
pub(crate) const EFFECTS: &str = "
    delta, lifetime_delta, status_after, held_delta, debt_delta, issued, reversed, spent, expired, forfeited,
    written_off, lot_expires_at, lot_deltas, lot_expired, lot_spent";

/// A whole row: `member_id`, `seq`, `command_id`, `epoch`, `programme`, `code`, `balance_after`, `occurred_at`,
/// `effective_at` where there is none too, `reversed_after`, [`CONTENT`] and [`EFFECTS`]. Nothing of a contact can be
/// compared with it.
pub(crate) fn entry(row: &Row) -> Result<Entry, StoreError> {
    let code = row.get::<_, Option<&str>>("code");
    let code = code.map(|code| RefusalCode::parse(code).ok_or(StoreError::UnexpectedValue { column: "ledger.code" }));
    Ok(Entry {
        member_id: MemberId::parse(row.get("member_id"))
            .map_err(|_| StoreError::UnexpectedValue { column: "ledger.member_id" })?,
        seq: row.get("seq"),
        command_id: CommandId::from(row.get::<_, Uuid>("command_id")),
        epoch: row.get("epoch"),
        programme: row.get("programme"),
        content: content(row, None)?,
        code: code.transpose()?,
        effects: effects(row)?,
        balance_after: row.get("balance_after"),
        occurred_at: row.get("occurred_at"),
        effective_at: row.get("effective_at"),
        reversed_after: row.get("reversed_after"),
    })
}

/// As the columns [`EFFECTS`] have it. A row without effects of its own issued what came in and spent what went out.
fn effects(row: &Row) -> Result<Effects, StoreError> {
    let status = row.get::<_, Option<&str>>("status_after");
    let status = status
        .map(|it| MemberStatus::parse(it).ok_or(StoreError::UnexpectedValue { column: "ledger.status_after" }))
        .transpose()?;
    let number = |column| row.get::<_, Option<i64>>(column).unwrap_or(0);
    let delta = row.get("delta");
    let sheet = match row.get::<_, Option<i64>>("issued") {
        None => Sheet::of_plain(delta),
        Some(issued) => Sheet {
            issued,
            reversed: number("reversed"),
            spent: number("spent"),
            expired: number("expired"),
            forfeited: number("forfeited"),
            written_off: number("written_off"),
        },
    };
    Ok(Effects {
        delta,
        held_delta: number("held_delta"),
        debt_delta: number("debt_delta"),
        lifetime_delta: row.get("lifetime_delta"),
        status_after: status,
        sheet,
        lots: lot_changes(row),
    })
}

/// As the columns `lot_expires_at`, `lot_deltas`, `lot_expired` and `lot_spent` have it. Of most rows there are none.
pub(crate) fn lot_changes(row: &Row) -> Vec<LotChange> {
    let days: Option<Vec<Timestamp>> = row.get("lot_expires_at");
    let points = |column| row.get::<_, Option<Vec<i64>>>(column).unwrap_or_default();
    let (deltas, expired, spent) = (points("lot_deltas"), points("lot_expired"), points("lot_spent"));
    let effects = deltas.into_iter().zip(expired).zip(spent);
    let change = |(expires_at, ((delta, expired), spent))| LotChange { expires_at, delta, expired, spent };
    days.unwrap_or_default().into_iter().zip(effects).map(change).collect()
}
