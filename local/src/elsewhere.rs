//! A place under `/var/lib` for a server's files, when root's own directory is closed to the account that runs it (a
//! repository under `/root`, say). A link in the directory leads there.
//!
//! A place whose link is gone belongs to nobody any more; the next that is made clears it away.

use std::{
    fs::DirBuilder,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::{account::Account, home::HomeError, lock::Lock};

/// Not `/var/tmp`: systemd removes files there by their age, which would tear holes into a database.
const PLACES: &str = "/var/lib/loyalty-local";

/// The file in a place that says where its link is.
const LINK: &str = "link";

/// Makes the directory `link`, or a place that it leads to if the account could not reach it there.
pub(crate) async fn make(link: &Path, account: &Account) -> Result<(), HomeError> {
    let parent = link.parent().unwrap_or(Path::new("/"));
    if account.can_enter(parent)? {
        create(link)?;
        return Ok(account.give(link)?);
    }
    sweep();
    let place = place_of(link);
    if place.exists() {
        // Not swept, so somebody is there. This waits for the dying, and says who if they live.
        drop(Lock::take(&place).await?);
        std::fs::remove_dir_all(&place).map_err(|source| failed(&place, source))?;
    }
    create(&place)?;
    account.give(&place)?;
    // Held until the link stands, or somebody else's sweep would find a place without one.
    let _held = Lock::take(&place).await?;
    let text = link.as_os_str().as_encoded_bytes();
    std::fs::write(place.join(LINK), text).map_err(|source| failed(&place, source))?;
    // An old link to a place that somebody removed is in the way of the new one.
    let _ = std::fs::remove_file(link);
    std::os::unix::fs::symlink(&place, link).map_err(|source| failed(link, source))
}

fn create(dir: &Path) -> Result<(), HomeError> {
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent).map_err(|source| failed(parent, source))?;
    }
    DirBuilder::new().mode(0o700).create(dir).map_err(|source| failed(dir, source))
}

/// Removes the places whose links are gone and that nobody uses. Best effort: they only take room.
fn sweep() {
    let places = std::fs::read_dir(PLACES).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    for place in places.filter(|place| is_abandoned(place)) {
        let Some(_held) = Lock::take_if_free(&place) else { continue };
        if let Err(error) = std::fs::remove_dir_all(&place) {
            tracing::debug!(%error, "An abandoned directory could not be removed");
        }
    }
}

fn is_abandoned(place: &Path) -> bool {
    let Ok(link) = std::fs::read_to_string(place.join(LINK)) else { return false };
    std::fs::read_link(link).ok().as_deref() != Some(place)
}

/// One place for one link, so that a directory that is made anew finds what the old one left.
fn place_of(link: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    link.hash(&mut hasher);
    Path::new(PLACES).join(format!("{:016x}", hasher.finish()))
}

fn failed(path: &Path, source: io::Error) -> HomeError {
    HomeError::Io { path: path.to_path_buf(), source }
}
