//! Finds the binaries of the servers, wherever distributions and packages put them. Only looks: never installs.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// Searched after `PATH`, and also when there is none: an empty environment must do.
const USUAL_DIRS: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"];

/// A program that is not on this machine.
#[derive(Debug, thiserror::Error)]
#[error("cannot find `{program}`; install the package `{package}` (on Debian and Ubuntu: apt-get install {package})")]
pub struct MissingBinary {
    /// What was looked for.
    pub program: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
}

/// The directory with `postgres` and `initdb`: that of the wanted major version if there is one, else the newest.
pub(crate) fn postgres(wanted_major: Option<&str>) -> Result<PathBuf, MissingBinary> {
    let mut found = versions(Path::new("/usr/lib/postgresql"), "", "bin");
    found.extend(on_path("postgres").filter_map(|program| Some(program.canonicalize().ok()?.parent()?.to_path_buf())));
    found.retain(|dir| dir.join("postgres").is_file() && dir.join("initdb").is_file());
    // A stable sort: among equals the order of the search stands.
    found.sort_by_key(|dir| dir.components().all(|part| Some(part.as_os_str()) != wanted_major.map(OsStr::new)));
    found.into_iter().next().ok_or(MissingBinary { program: "postgres", package: "postgresql" })
}

/// The script `rabbitmq-server` itself. Distributions put a wrapper on `PATH` that changes user and directory, so
/// `PATH` comes last.
pub(crate) fn rabbitmq_server() -> Result<PathBuf, MissingBinary> {
    ["/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin"]
        .into_iter()
        .map(PathBuf::from)
        .chain(versions(Path::new("/usr/lib/rabbitmq/lib"), "rabbitmq_server-", "sbin"))
        .map(|dir| dir.join("rabbitmq-server"))
        .chain(on_path("rabbitmq-server"))
        .find(|program| program.is_file())
        .ok_or(MissingBinary { program: "rabbitmq-server", package: "rabbitmq-server" })
}

/// A program of the Erlang runtime: `erl`, `epmd`, `erl_call`, or one that is only in the runtime's own directory.
pub(crate) fn erlang(program: &'static str) -> Result<PathBuf, MissingBinary> {
    let runtime = Path::new("/usr/lib/erlang");
    let inside = std::iter::once(runtime.join("bin")).chain(versions(runtime, "erts-", "bin"));
    on_path(program)
        .chain(inside.map(|dir| dir.join(program)))
        .find(|program| program.is_file())
        .ok_or(MissingBinary { program, package: "erlang-base" })
}

/// The pooler, which tests alone need.
pub(crate) fn pgbouncer() -> Result<PathBuf, MissingBinary> {
    on_path("pgbouncer").next().ok_or(MissingBinary { program: "pgbouncer", package: "pgbouncer" })
}

/// `setpriv` of util-linux, which ties a child's life to ours.
pub(crate) fn setpriv() -> Result<PathBuf, MissingBinary> {
    on_path("setpriv").next().ok_or(MissingBinary { program: "setpriv", package: "util-linux" })
}

/// A `PATH` for a child that calls a few ordinary programs and those in `first`.
pub(crate) fn child_path(first: &Path) -> OsString {
    let dirs = std::iter::once(first.to_path_buf()).chain(usual());
    std::env::join_paths(dirs).unwrap_or_else(|_| "/usr/bin:/bin".into())
}

fn usual() -> impl Iterator<Item = PathBuf> {
    USUAL_DIRS.into_iter().map(PathBuf::from)
}

#[expect(clippy::disallowed_methods, reason = "where programs are is the environment's to say")]
fn on_path(program: &str) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).chain(usual()).collect();
    dirs.into_iter().map(move |dir| dir.join(program)).filter(|found| found.is_file())
}

/// `parent/<prefix><version>/<sub>` of every version, the newest first.
fn versions(parent: &Path, prefix: &str, sub: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?;
            let numbers = version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
            Some((numbers, entry.path().join(sub)))
        })
        .collect();
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["erts-9.3", "erts-14.2.5", "erts-14.10", "lib"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let names = ["erts-14.10/bin", "erts-14.2.5/bin", "erts-9.3/bin"].map(|name| dir.path().join(name));
        assert_eq!(versions(dir.path(), "erts-", "bin"), names);
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let error = MissingBinary { program: "postgres", package: "postgresql" };
        let text = "cannot find `postgres`; install the package `postgresql` \
                    (on Debian and Ubuntu: apt-get install postgresql)";
        assert_eq!(error.to_string(), text);
    }
}
