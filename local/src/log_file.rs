//! The file that takes what a child process prints.
//!
//! It is appended to from run to run, so that the cause of a crash survives the restart, and begun again when it has
//! grown large.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// A start finds out the size and begins again beyond this many bytes: weeks of a quiet server.
const LIMIT_BYTES: u64 = 8 * 1024 * 1024;

/// How many of the last lines an error shows: enough for a server's own complaint, little enough for a terminal.
const TAIL_LINES: usize = 15;

/// One child's log.
#[derive(Debug, Clone)]
pub(crate) struct LogFile {
    path: PathBuf,
}

impl LogFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it for a child that is about to start.
    pub(crate) fn open(&self) -> io::Result<File> {
        let too_large = self.path.metadata().is_ok_and(|found| found.len() > LIMIT_BYTES);
        if too_large {
            std::fs::remove_file(&self.path)?;
        }
        // A server may quote what it was sent.
        OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)
    }

    /// The last lines, for an error message. A log that cannot be read must not hide the error itself.
    pub(crate) fn tail(&self) -> String {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}
