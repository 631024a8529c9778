//! A data directory under `/var/lib`, for a server that root runs as an ordinary user who cannot enter the directory
//! that was asked for (a repository under `/root`, say). A link in that directory leads here.
//!
//! A directory whose link is gone is abandoned; whoever makes the next one removes it.

use std::{
    fs::DirBuilder,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::DataDirError;
use crate::{lock::Lock, service_user::ServiceUser};

/// Not `/var/tmp`: systemd removes files there by their age, which would tear holes into a database.
const DATA_DIRS: &str = "/var/lib/loyalty-local";

/// The file in a data directory that says where its link is.
const LINK: &str = "link";

/// Makes the directory `link`, or a link to one under [`DATA_DIRS`] if the account could not enter it there.
pub(crate) async fn make(link: &Path, user: &ServiceUser) -> Result<(), DataDirError> {
    let parent = link.parent().unwrap_or(Path::new("/"));
    if user.can_enter(parent)? {
        create(link)?;
        return Ok(user.give(link)?);
    }
    remove_abandoned();
    let dir = dir_of(link);
    if dir.exists() {
        // Still in use, then. This waits for servers that are stopping, and names the process if it is alive.
        drop(Lock::take(&dir).await?);
        std::fs::remove_dir_all(&dir).map_err(|source| failed(&dir, source))?;
    }
    create(&dir)?;
    user.give(&dir)?;
    // Held until the link is there: without one the directory looks abandoned to other processes.
    let _held = Lock::take(&dir).await?;
    let text = link.as_os_str().as_encoded_bytes();
    std::fs::write(dir.join(LINK), text).map_err(|source| failed(&dir, source))?;
    // An old link to a directory that somebody removed is in the way of the new one.
    let _ = std::fs::remove_file(link);
    std::os::unix::fs::symlink(&dir, link).map_err(|source| failed(link, source))
}

fn create(dir: &Path) -> Result<(), DataDirError> {
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent).map_err(|source| failed(parent, source))?;
    }
    DirBuilder::new().mode(0o700).create(dir).map_err(|source| failed(dir, source))
}

/// Removes the directories whose links are gone and that nobody uses. Best effort: they only take room.
fn remove_abandoned() {
    let dirs = std::fs::read_dir(DATA_DIRS).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    for dir in dirs.filter(|dir| is_abandoned(dir)) {
        let Some(_held) = Lock::take_if_free(&dir) else { continue };
        if let Err(error) = std::fs::remove_dir_all(&dir) {
            tracing::debug!(%error, "Cannot remove an abandoned data directory");
        }
    }
}

fn is_abandoned(dir: &Path) -> bool {
    let Ok(link) = std::fs::read_to_string(dir.join(LINK)) else { return false };
    std::fs::read_link(link).ok().as_deref() != Some(dir)
}

/// The same for the same link, so that a directory that is made again finds what the old one left.
fn dir_of(link: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    link.hash(&mut hasher);
    Path::new(DATA_DIRS).join(format!("{:016x}", hasher.finish()))
}

fn failed(path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Io { path: path.to_path_buf(), source }
}
