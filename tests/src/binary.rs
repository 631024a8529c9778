//! Where the binary under test is, built afresh so that nobody tests yesterday's.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::sync::OnceCell;

/// Names a binary to test instead of the one in this work tree.
const BINARY: &str = "LOYALTY_TEST_BINARY";

/// The path of `loyalty`.
pub(crate) async fn loyalty() -> &'static Path {
    static PATH: OnceCell<PathBuf> = OnceCell::const_new();
    PATH.get_or_init(|| async { std::env::var_os(BINARY).map_or_else(built, PathBuf::from) }).await
}

/// Builds the binary in the profile and directory of this test. When it is there already, Cargo needs a moment to see
/// that.
fn built() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    // target/debug/deps/system-0123456789abcdef
    let profile_dir = test.ancestors().nth(2).expect("a test lies in target/PROFILE/deps");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target_dir = profile_dir.parent().expect("a profile's directory lies in the target directory");
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "loyalty-cli", "--bin", "loyalty", "--profile", profile]);
    if cfg!(feature = "otel") {
        build.args(["--features", "otel"]);
    }
    build.arg("--target-dir").arg(target_dir).current_dir(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_about_this_test(name)) {
        build.env_remove(name);
    }
    assert!(build.status().expect("Cargo builds the binary under test").success(), "loyalty does not build");
    profile_dir.join("loyalty")
}

/// What Cargo tells a test of its package. Build scripts that look at it (ring's does) would run again each time.
fn is_about_this_test(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|start| name.starts_with(start))
}
