//! What can go wrong with the private server, in words for whoever runs it.

use std::{io, path::PathBuf};

use crate::{binaries::MissingBinary, data_dir::DataDirError, lock::LockError, process::ProcessError};

/// What can go wrong with the private server.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(transparent)]
    Missing(#[from] MissingBinary),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// `initdb` failed.
    #[error("PostgreSQL could not prepare its directory; the end of {}:\n{tail}", log.display())]
    Init {
        /// Where the whole story is.
        log: PathBuf,
        tail: String,
    },
    /// The new cluster could not be moved to its place.
    #[error("cannot put the new database at {}", path.display())]
    Place { path: PathBuf, source: io::Error },
    /// It ended, or did not answer in time.
    #[error("PostgreSQL did not start; the end of {}:\n{tail}", log.display())]
    Start {
        /// Where the whole story is.
        log: PathBuf,
        tail: String,
    },
    /// A database could not be made or removed.
    #[error("PostgreSQL refused: {statement}")]
    Sql { statement: String, source: tokio_postgres::Error },
}
