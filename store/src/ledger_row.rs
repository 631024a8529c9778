//! What a command said, read from the row of the ledger that it left.

use loyalty_common::{CommandId, EntryType};
use loyalty_ledger::CommandContent;
use loyalty_ledger::contact::{ContactKey, StatedValue};
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
