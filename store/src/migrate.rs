//! Bringing the database's tables up to this release: numbered SQL files, each run once, in order.
//!
//! A migration that has landed is never edited: its checksum is kept, and a difference stops us.

use sha2::{Digest, Sha256};

use crate::pool::{Pool, StoreError};

/// Every migration, in order.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_ledger", include_str!("../migrations/0001_ledger.sql")),
    ("0002_operator", include_str!("../migrations/0002_operator.sql")),
    ("0003_terminate", include_str!("../migrations/0003_terminate.sql")),
    ("0004_suspect", include_str!("../migrations/0004_suspect.sql")),
    ("0005_rebuild", include_str!("../migrations/0005_rebuild.sql")),
    ("0006_token", include_str!("../migrations/0006_token.sql")),
    ("0007_events", include_str!("../migrations/0007_events.sql")),
    ("0008_suspect_tried", include_str!("../migrations/0008_suspect_tried.sql")),
    ("0009_trace", include_str!("../migrations/0009_trace.sql")),
    ("0010_ledger_order", include_str!("../migrations/0010_ledger_order.sql")),
    ("0011_claim_token", include_str!("../migrations/0011_claim_token.sql")),
    ("0012_contact", include_str!("../migrations/0012_contact.sql")),
];

/// The key of the advisory lock: two migrations at once would run the same file twice. The bytes of "loyalty".
const LOCK_KEY: i64 = 0x006c_6f79_616c_7479;

const BOOKKEEPING: &str = "create table if not exists schema_migration (
    name       text primary key,
    checksum   text not null,
    applied_at timestamptz not null default now()
)";

/// Runs what has not run yet, all in one transaction, and returns the names.
pub async fn migrate(pool: &Pool) -> Result<Vec<&'static str>, MigrateError> {
    let mut client = pool.get().await?;
    let transaction = client.transaction().await.map_err(StoreError::Query)?;
    // A migration of large tables may take its time, and so may waiting for somebody else's.
    let no_hurry = "set local statement_timeout = 0; set local lock_timeout = 0";
    transaction.batch_execute(no_hurry).await.map_err(StoreError::Query)?;
    transaction.execute("select pg_advisory_xact_lock($1)", &[&LOCK_KEY]).await.map_err(StoreError::Query)?;
    transaction.batch_execute(BOOKKEEPING).await.map_err(StoreError::Query)?;
    let mut applied = Vec::new();
    for (name, sql) in MIGRATIONS {
        let checksum = checksum(sql);
        let known = transaction
            .query_opt("select checksum from schema_migration where name = $1", &[name])
            .await
            .map_err(StoreError::Query)?;
        match known {
            Some(row) if row.get::<_, String>(0) == checksum => {}
            Some(_) => return Err(MigrateError::Edited { name }),
            None => {
                transaction.batch_execute(sql).await.map_err(|source| MigrateError::Failed { name, source })?;
                let note = "insert into schema_migration (name, checksum) values ($1, $2)";
                transaction.execute(note, &[name, &checksum]).await.map_err(StoreError::Query)?;
                applied.push(*name);
            }
        }
    }
    transaction.commit().await.map_err(StoreError::Query)?;
    Ok(applied)
}

/// The migrations that have not run yet. Everything, if none ever did.
pub async fn pending(pool: &Pool) -> Result<Vec<&'static str>, StoreError> {
    let client = pool.get().await?;
    let exists = client.query_one("select to_regclass('schema_migration') is not null", &[]).await?;
    if !exists.get::<_, bool>(0) {
        return Ok(MIGRATIONS.iter().map(|(name, _)| *name).collect());
    }
    let rows = client.query("select name from schema_migration", &[]).await?;
    let known: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(MIGRATIONS.iter().map(|(name, _)| *name).filter(|name| !known.iter().any(|known| known == name)).collect())
}

fn checksum(sql: &str) -> String {
    use std::fmt::Write;
    Sha256::digest(sql.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// Why the tables are not up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A migration that ran here differs from the one in this release.
    #[error("migration {name} was edited after it ran here")]
    Edited {
        /// Which.
        name: &'static str,
    },
    /// A migration failed; nothing was changed.
    #[error("migration {name} failed")]
    Failed {
        /// Which.
        name: &'static str,
        /// Why.
        source: tokio_postgres::Error,
    },
}
