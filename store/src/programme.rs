//! Every programme that a worker ever started with, each under a small number: rows of the ledger name the one that
//! decided them.

use std::collections::BTreeMap;

use loyalty_ledger::Programme;
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use crate::pool::{Pool, StoreError};

/// Looked for first: a number that is drawn and not used is lost, and there are few.
const INSERT: &str = "
    insert into programme (digest, text, first_used_at)
    select $1, $2, now() where not exists (select from programme where digest = $1)
    on conflict (digest) do nothing";

const NUMBER: &str = "select programme_id from programme where digest = $1";

const ALL: &str = "select programme_id, text from programme";

/// The programme's number, which it gets if it has none.
pub async fn number(pool: &Pool, programme: &Programme) -> Result<i16, StoreError> {
    let text = serde_json::to_string(programme).expect("it is data without keys that are no text");
    let digest = Sha256::digest(&text);
    let client = pool.get().await?;
    client.execute(INSERT, &[&digest.as_slice(), &text]).await?;
    Ok(client.query_one(NUMBER, &[&digest.as_slice()]).await?.get(0))
}

/// All of them by their numbers. They are as many as an operator has changed the settings.
pub(crate) async fn all(client: &Client) -> Result<BTreeMap<i16, Programme>, StoreError> {
    let programme = |row: &tokio_postgres::Row| {
        let number = row.get("programme_id");
        let programme = serde_json::from_str(row.get("text"))
            .map_err(|_| StoreError::UnexpectedValue { column: "programme.text" })?;
        Ok((number, Programme { number, ..programme }))
    };
    client.query(ALL, &[]).await?.iter().map(programme).collect()
}
