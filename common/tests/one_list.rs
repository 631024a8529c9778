//! The types of commands are listed in one place, the registry: a new one must not have to be written into others.

use std::fs;
use std::path::{Path, PathBuf};

use loyalty_common::CommandType;

/// From so many types on, a file lists them. One or two are named where something is about just these.
const LISTED_FROM: usize = 3;

/// Those that may, and why.
const MAY_LIST: [(&str, &str); 5] = [
    ("common/src/command/registry.rs", "it is the list"),
    ("ledger/src/command.rs", "which file has the rule of each type"),
    ("bridge/src/compat/response.rs", "the sentences of the sample's four routes, which never become more"),
    ("bridge/src/compat/routes.rs", "those routes"),
    ("cli/src/import/sending.rs", "what a file of purchases is made into, which other types never are"),
];

/// What is built or fetched, and what tests: a test names what it is about.
const NOT_LOOKED_AT: [&str; 7] = ["target", ".git", ".loyalty", "node_modules", ".venv", "tests", "testkit"];

#[test]
fn no_file_but_the_registry_lists_the_types_of_commands() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut faults = Vec::new();
    for file in sources(&root) {
        let name = file.strip_prefix(&root).expect("it is below").to_string_lossy().into_owned();
        let named = named_in(&without_tests(&fs::read_to_string(&file).expect("a source is text")));
        let may = MAY_LIST.iter().any(|(allowed, _)| *allowed == name);
        if named.len() >= LISTED_FROM && !may {
            faults.push(format!("{name}: {}; ask the registry instead", named.join(", ")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// An entry for a file that is gone, or that lists nothing any more, would let the next list pass.
#[test]
fn whoever_may_list_them_does() {
    for (name, why) in MAY_LIST.iter().filter(|(name, _)| !name.ends_with("registry.rs")) {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)).expect(name);
        assert!(named_in(&without_tests(&text)).len() >= LISTED_FROM, "{name} ({why}) lists no types");
    }
}

/// The types that a text names, as variants or as they are on the wire.
fn named_in(text: &str) -> Vec<&'static str> {
    let is_named = |command_type: &CommandType| {
        let variant = format!("::{command_type:?}");
        let variants = text.match_indices(&variant).map(|(at, _)| &text[at + variant.len()..]);
        let mut whole = variants.filter(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        whole.next().is_some()
            || ["\"", "'"].iter().any(|quote| text.contains(&format!("{quote}{command_type}{quote}")))
    };
    CommandType::ALL.iter().filter(|it| is_named(it)).map(|it| it.as_str()).collect()
}

/// The text up to the tests in it.
fn without_tests(text: &str) -> String {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// Rust and SQL that is no test.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("the directory can be read") {
        let path = entry.expect("the directory can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_test = ["tests.rs", "properties.rs"].contains(&name.as_str()) || NOT_LOOKED_AT.contains(&name.as_str());
        if path.is_dir() && !path.is_symlink() && !is_test {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs" || it == "sql") && !is_test {
            found.push(path);
        }
    }
    found
}
