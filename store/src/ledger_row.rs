//! What a command said, read from the row of the ledger that it left.

use loyalty_common::CommandType;
use loyalty_ledger::CommandContent;
use loyalty_ledger::contact::{ContactKey, StatedValue};
use tokio_postgres::Row;

use crate::pool::StoreError;

/// The column `contact_key` beside a row of the ledger: the key with which what is kept of a contact may be compared.
/// The member is not looked for where nothing is kept.
pub(crate) const CONTACT_KEY: &str = "
    case when email_hmac is not null then (
        select contact_key from member
        where member.partition = ledger.partition and member.member_id = ledger.member_id) end as contact_key";

/// As the columns have it: `type`, `points`, `reason`, `source_ref`, `email_hmac`, `name_hmac`.
pub(crate) fn content(row: &Row, key: Option<&ContactKey>) -> Result<CommandContent, StoreError> {
    Ok(CommandContent {
        command_type: CommandType::parse(row.get("type"))
            .ok_or(StoreError::UnexpectedValue { column: "ledger.type" })?,
        points: row.get("points"),
        reason: row.get("reason"),
        source_ref: row.get("source_ref"),
        email: StatedValue::from_row(row.get("email_hmac"), key),
        name: StatedValue::from_row(row.get("name_hmac"), key),
    })
}
