//! What a running `loyalty dev` leaves for the commands in the next terminal, and how they know that it still runs.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::SettingsError;

/// Where `loyalty dev` keeps everything unless told otherwise.
pub(crate) const DIRECTORY: &str = ".loyalty";

/// The file that says where its servers are, passwords included.
const FILE: &str = "dev.json";

/// The file whose lock says that it runs. The kernel lets go of the lock however the process ends.
const LOCK: &str = "dev.lock";

/// Only the owner: the file holds passwords.
const OWNER_ONLY: u32 = 0o600;

/// Where a running `loyalty dev` has its servers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunningDev {
    pub(crate) pid: u32,
    /// The bridge.
    pub(crate) http: String,
    /// RabbitMQ.
    pub(crate) amqp_url: String,
    /// RabbitMQ's management API, if it is known.
    #[serde(default)]
    pub(crate) management_url: Option<String>,
    /// PostgreSQL.
    pub(crate) database_url: String,
    /// The mail server, if it has one.
    pub(crate) smtp_url: Option<String>,
}

impl RunningDev {
    /// What the `loyalty dev` of this directory left, if it still runs.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>, SettingsError> {
        let path = directory.join(FILE);
        let failed = |source| SettingsError::Read { path: path.clone(), source };
        if !is_locked(directory).map_err(failed)? {
            return Ok(None);
        }
        let file = match File::open(&path) {
            Ok(file) => file,
            // It has started and does not know yet where its servers will be.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        let own = File::open("/proc/self").and_then(|me| me.metadata()).map_err(failed)?;
        if metadata.uid() != own.uid() || metadata.mode() & 0o022 != 0 {
            return Err(SettingsError::Foreign { path });
        }
        let text = io::read_to_string(file).map_err(failed)?;
        serde_json::from_str(&text).map(Some).map_err(|error| SettingsError::Config {
            path,
            // Its text could quote a password.
            problem: format!("line {} is not what `loyalty dev` writes", error.line()),
        })
    }
}

fn is_locked(directory: &Path) -> io::Result<bool> {
    let lock = match File::open(directory.join(LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The right to run in a directory. Dropping it ends the right and removes what was announced.
#[derive(Debug)]
pub(crate) struct Lock {
    directory: PathBuf,
    _lock: File,
}

impl Lock {
    /// Takes the directory, making it if need be.
    pub(crate) fn take(directory: &Path) -> Result<Self, TakeError> {
        let failed = |source| TakeError::Directory { path: directory.to_path_buf(), source };
        std::fs::create_dir_all(directory).map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(OWNER_ONLY)
            .open(directory.join(LOCK))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory: directory.to_path_buf(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(TakeError::RunsAlready { path: directory.to_path_buf() }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Where [`Lock::announce`] writes.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Tells the commands in the next terminal where the servers are.
    pub(crate) fn announce(&self, running: &RunningDev) -> io::Result<()> {
        let path = self.file();
        // Written beside and moved into place: a reader never sees half of it, and an old file's mode never stays.
        let unfinished = path.with_extension("json.new");
        let _ = std::fs::remove_file(&unfinished);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&unfinished)?;
        serde_json::to_writer_pretty(&mut file, running)?;
        file.write_all(b"\n")?;
        std::fs::rename(&unfinished, &path)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A file that stays is not believed without the lock.
        let _ = std::fs::remove_file(self.file());
    }
}

/// Why a `loyalty dev` cannot run in a directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// Another one does.
    #[error("a `loyalty dev` already runs in {}; stop it first, or use another directory (--data)", path.display())]
    RunsAlready { path: PathBuf },
    /// The directory cannot be used.
    #[error("could not use the directory {}", path.display())]
    Directory { path: PathBuf, source: io::Error },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn running() -> RunningDev {
        RunningDev {
            pid: 1,
            http: "http://127.0.0.1:5000".into(),
            amqp_url: "amqp://host".into(),
            management_url: None,
            database_url: "postgres://host".into(),
            smtp_url: None,
        }
    }

    #[test]
    fn a_second_dev_in_the_same_directory_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Lock::take(dir.path()).expect("nobody is here");
        assert!(matches!(Lock::take(dir.path()), Err(TakeError::RunsAlready { .. })));
        drop(first);
        assert!(Lock::take(dir.path()).is_ok());
    }

    #[test]
    fn only_the_owner_reads_it_and_what_others_may_write_is_not_believed() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = Lock::take(dir.path()).expect("nobody is here");
        assert!(RunningDev::read(dir.path()).expect("readable").is_none(), "nothing is announced yet");
        lock.announce(&running()).expect("written");
        let path = dir.path().join(FILE);
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
        assert!(RunningDev::read(dir.path()).expect("readable").is_some());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("ours");
        assert!(matches!(RunningDev::read(dir.path()), Err(SettingsError::Foreign { .. })));
    }
}
