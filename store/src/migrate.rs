//! Bringing the database's tables up to this release: numbered SQL files, each run once, in order.
//!
//! A migration that has landed is never edited: its checksum is kept, and a difference stops us.

use deadpool_postgres::GenericClient;
use sha2::{Digest, Sha256};

use crate::pool::{Pool, StoreError};

/// Every migration, in order.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_schema", include_str!("../migrations/0001_schema.sql")),
    ("0002_workers", include_str!("../migrations/0002_workers.sql")),
];

/// The first migration of the versions before the first release, whose tables no migration leads on from.
const UNRELEASED: &str = "0001_ledger";

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
    refuse_unreleased(&names(&transaction).await?)?;
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
pub async fn pending(pool: &Pool) -> Result<Vec<&'static str>, MigrateError> {
    let client = pool.get().await?;
    let exists = client.query_one("select to_regclass('schema_migration') is not null", &[]).await;
    let known = if exists.map_err(StoreError::Query)?.get(0) { names(&*client).await? } else { Vec::new() };
    refuse_unreleased(&known)?;
    Ok(MIGRATIONS.iter().map(|(name, _)| *name).filter(|name| !known.iter().any(|known| known == name)).collect())
}

/// The migrations that ran here.
async fn names(client: &impl GenericClient) -> Result<Vec<String>, StoreError> {
    let rows = client.query("select name from schema_migration", &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn refuse_unreleased(known: &[String]) -> Result<(), MigrateError> {
    if known.iter().any(|name| name == UNRELEASED) { Err(MigrateError::Unreleased) } else { Ok(()) }
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
    /// The tables are of a version before the first release.
    #[error(
        "this database was made by an unreleased version of loyalty, whose tables cannot be brought up to date; nothing \
         was changed. Save what you need of it (`pg_dump`), then run `loyalty migrate` on a new, empty database"
    )]
    Unreleased,
    /// A migration that ran here differs from the one in this release.
    #[error("migration {name} was edited after it ran here")]
    Edited {
        /// Its file, without the ending.
        name: &'static str,
    },
    /// A migration failed; nothing was changed.
    #[error("migration {name} failed")]
    Failed {
        /// Its file, without the ending.
        name: &'static str,
        /// What PostgreSQL said.
        source: tokio_postgres::Error,
    },
}
