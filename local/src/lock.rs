//! One user of a directory at a time.
//!
//! The lock is an `flock` on a file that also names the holder. Child processes inherit it as their standard input,
//! so it is free only when the last of them has ended: a new start waits for the servers of one that was killed.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use crate::wait;

/// How long the servers of a killed process may take to end. `RabbitMQ` needs six seconds when nothing goes wrong.
const ORPHANS_END: Duration = Duration::from_secs(30);

/// Why a directory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file could not be opened, read or written.
    #[error("cannot lock {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Somebody else is at work there.
    #[error("{} is in use by process {pid}; end that one first, or choose another directory", dir.display())]
    InUse {
        dir: PathBuf,
        /// The process that holds it.
        pid: u32,
    },
    /// The servers are another process's: they can be used, and neither started nor stopped from here.
    #[error("the servers in {} are run by another process", dir.display())]
    Attached { dir: PathBuf },
    /// The process that held it is gone, but the servers it started are not.
    #[error("servers that process {pid} left behind in {} do not end", dir.display())]
    Orphans {
        dir: PathBuf,
        /// The process that started them.
        pid: u32,
    },
}

/// A directory held by this process and by the children that were given [`Lock::for_child`].
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the directory if nobody has it.
    pub(crate) fn take_if_free(dir: &Path) -> Option<Self> {
        let path = dir.join("lock");
        let mut file = open(&path).ok()?;
        matches!(try_take(&mut file, dir), Ok(true)).then_some(Self { file, path })
    }

    /// Takes the directory, and waits if only the remains of a dead holder are in the way.
    pub(crate) async fn take(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let error = |source| LockError::Io { path: path.clone(), source };
        let mut file = open(&path).map_err(error)?;
        let attempt = async || try_take(&mut file, dir).map(|taken| taken.then_some(())).transpose();
        if let Some(answer) = wait::within(ORPHANS_END, attempt).await {
            answer?;
        } else {
            let pid = holder(&mut file).map_err(error)?;
            return Err(LockError::Orphans { dir: dir.to_path_buf(), pid });
        }
        Ok(Self { file, path })
    }

    /// A child's standard input: it reads nothing, it only keeps the lock for as long as the child lives.
    pub(crate) fn for_child(&self) -> Result<Stdio, LockError> {
        let copy = self.file.try_clone().map_err(|source| LockError::Io { path: self.path.clone(), source })?;
        Ok(Stdio::from(copy))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Whether the lock is ours now. `false` means that nobody alive holds it, and waiting helps.
fn try_take(file: &mut File, dir: &Path) -> Result<bool, LockError> {
    let error = |source| LockError::Io { path: dir.join("lock"), source };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = holder(file).map_err(error)?;
            // A holder that has the lock and has not yet written its name reads as 0: ask again.
            let alive = pid != 0 && Path::new("/proc").join(pid.to_string()).exists();
            return if alive { Err(LockError::InUse { dir: dir.to_path_buf(), pid }) } else { Ok(false) };
        }
        Err(TryLockError::Error(source)) => return Err(error(source)),
    }
    write_holder(file).map_err(error)?;
    Ok(true)
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> io::Result<u32> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text.trim().parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_start_is_told_who_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let _held = Lock::take(dir.path()).await.unwrap();
        let refused = Lock::take(dir.path()).await.unwrap_err();
        assert!(matches!(refused, LockError::InUse { pid, .. } if pid == std::process::id()), "{refused}");
    }

    #[tokio::test]
    async fn a_lock_that_is_let_go_can_be_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        drop(Lock::take(dir.path()).await.unwrap());
        Lock::take(dir.path()).await.unwrap();
    }
}
