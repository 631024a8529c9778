//! The directory of everything that a test process writes, servers included. It goes when the process has ended,
//! however it ends.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// A file system in memory, on which the servers' syncing costs nothing: worlds
/// are made in less than half of the time.
const IN_MEMORY: &str = "/dev/shm";

/// What all servers of a run of all tests write, with much to spare.
const NEEDED_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// The directory of this process. The account of a database server under root can enter it.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<(PathBuf, ChildStdin)> = OnceLock::new();
    let (dir, _) = ROOT.get_or_init(|| {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("loyalty-tests-").permissions(Permissions::from_mode(0o755));
        let dir = builder.tempdir_in(base()).expect("a temporary directory").keep();
        let pipe = remove_after_us(&dir);
        (dir, pipe)
    });
    dir
}

/// A directory in it.
pub fn dir(name: &str) -> PathBuf {
    let dir = root().join(name);
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

/// In memory if there is plenty, of the file system and of the machine; else where temporary files go.
fn base() -> PathBuf {
    let free = rustix::fs::statvfs(IN_MEMORY).map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize));
    let plenty = free >= NEEDED_BYTES && memory_available() >= 2 * NEEDED_BYTES;
    if plenty { IN_MEMORY.into() } else { std::env::temp_dir() }
}

/// What the kernel says that programs could still have, in bytes.
fn memory_available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB"));
    found.and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Removes a directory when this process has ended, and the servers in it have too: each holds the lock of its own
/// directory while it lives. The answer is the end of a pipe that only our death closes.
fn remove_after_us(dir: &Path) -> ChildStdin {
    const REMOVE: &str = r#"cat > /dev/null
for lock in "$1"/*/lock "$1"/*/*/lock "$1"/*/*/*/lock; do [ -e "$lock" ] && flock "$lock" true; done
rm -rf -- "$1""#;
    let mut broom = Command::new("/bin/sh");
    broom.args(["-c", REMOVE, "sh"]).arg(dir).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // Its own group: Ctrl-C in the terminal is for us only.
    #[expect(clippy::zombie_processes, reason = "it ends after us")]
    let mut broom = broom.process_group(0).spawn().expect("a shell");
    broom.stdin.take().expect("the pipe that was asked for")
}
