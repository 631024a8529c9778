//! What the rules must never depend on, be it through others.

use std::process::Command;

/// Whoever waits, asks a database or talks to a broker.
const FORBIDDEN: [&str; 5] = ["tokio", "tokio-postgres", "lapin", "deadpool-postgres", "async-global-executor"];

#[test]
fn the_rules_compile_without_a_database_a_broker_or_a_runtime() {
    let arguments = ["tree", "-p", "loyalty-ledger", "-e", "normal", "--prefix", "none", "--locked", "--offline"];
    let tree = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs, since it has built this");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("names of crates");
    let crates: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(crates.contains(&"loyalty-common"), "{tree}");
    let found: Vec<_> = crates.iter().filter(|name| FORBIDDEN.contains(name)).collect();
    assert!(found.is_empty(), "{found:?} are below the rules:\n{tree}");
}
