//! What can go wrong with the private server, in words for whoever runs it.

use std::{io, path::PathBuf};

use crate::{home::HomeError, lock::LockError, process::ProcessError, programs::MissingProgram};

/// What can go wrong with the private server.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// Its programs are not installed.
    #[error(transparent)]
    Missing(#[from] MissingProgram),
    /// Its directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A child process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// `initdb` failed.
    #[error("PostgreSQL could not prepare its directory; the end of {}:\n{tail}", log.display())]
    Init {
        /// Where the whole story is.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The new cluster could not be moved to its place.
    #[error("cannot put the new database at {}", path.display())]
    Place {
        /// The data directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended, or did not answer in time.
    #[error("PostgreSQL did not start; the end of {}:\n{tail}", log.display())]
    Start {
        /// Where the whole story is.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// A database could not be made or removed.
    #[error("PostgreSQL refused: {statement}")]
    Sql {
        /// What was asked.
        statement: String,
        /// What it answered.
        source: tokio_postgres::Error,
    },
}
