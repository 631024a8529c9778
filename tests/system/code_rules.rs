//! The rules of the house that no lint knows: how long a file and a function may be, and that no tool left anything.

use std::fs;
use std::path::{Path, PathBuf};

/// A file is read in one go.
const FILE_LINES_MAX: usize = 400;

/// A function is seen at once.
const FUNCTION_LINES_MAX: usize = 60;

/// What is built or fetched, and not ours to judge.
const NOT_OURS: [&str; 5] = ["target", ".git", ".loyalty", "node_modules", ".venv"];

/// What tools leave beside the files that they were at.
const LEFT_OVERS: [&str; 4] = ["pending-snap", "orig", "rej", "snap.new"];

#[test]
fn no_file_and_no_function_is_too_long_and_no_tool_left_anything() {
    let mut faults = Vec::new();
    for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")) {
        let name = file.display();
        if LEFT_OVERS.iter().any(|ending| file.to_string_lossy().ends_with(&format!(".{ending}"))) {
            faults.push(format!("{name}: left by a tool"));
        }
        if file.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&file).expect("the file can be read");
            let lines = text.lines().count();
            if lines > FILE_LINES_MAX {
                faults.push(format!("{name}: {lines} lines; at most {FILE_LINES_MAX}"));
            }
            faults.extend(long_functions(&text).into_iter().map(|fault| format!("{name}:{fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The tables of invariants and guards, and the first of their columns in which files and tests are named.
const TABLES: [(&str, usize); 3] = [("ARCHITECTURE.md", 2), ("docs/invariants.md", 2), ("tests/system/main.rs", 1)];

#[test]
fn whatever_a_table_of_invariants_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut missing = Vec::new();
    for (table, column) in TABLES {
        let text = fs::read_to_string(root.join(table)).expect("the table can be read");
        let lines = text.lines().map(|line| line.trim_start_matches("//! "));
        let rows =
            lines.skip_while(|line| !line.starts_with("| invariant |") && !line.starts_with("| guard |")).skip(2);
        for row in rows.take_while(|line| line.starts_with("| ")) {
            let mut file = PathBuf::new();
            for cell in row.trim_matches(['|', ' ']).split(" | ").skip(column) {
                let names = cell.split('`').skip(1).step_by(2);
                missing.extend(
                    names.filter(|name| !is_there(&root, name, &mut file)).map(|name| format!("{table}: {name}")),
                );
            }
        }
    }
    assert_eq!(missing, [""; 0]);
}

/// A file, with or without its `src`; a system test, whose name may be cut short, or all of a module; or something that
/// stands in the file named before it.
fn is_there(root: &Path, name: &str, file: &mut PathBuf) -> bool {
    let name = name.trim_end_matches("...");
    if name.contains('/') {
        let possible = [root.join(name), root.join(name.replacen('/', "/src/", 1))];
        return possible.into_iter().find(|path| path.exists()).map(|path| *file = path).is_some();
    }
    let (module, test) = name.split_once("::").unwrap_or((name, ""));
    let module = root.join(format!("tests/system/{module}.rs"));
    if module.exists() {
        *file = module;
    }
    let within = if test.is_empty() { name.to_owned() } else { format!("fn {test}") };
    let is_module = file.file_stem().is_some_and(|stem| stem == name);
    is_module || fs::read_to_string(file).is_ok_and(|text| text.contains(&within))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("the directory can be read") {
        let entry = entry.expect("the directory can be read");
        let kind = entry.file_type().expect("an entry has a kind");
        if kind.is_dir() && !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

/// As rustfmt writes them: a function ends with the brace that is indented like its first line.
fn long_functions(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut begun: Option<(usize, &str, String)> = None;
    for (number, line) in text.lines().enumerate() {
        if let Some((first, signature, end)) = &begun {
            if line == end {
                let lines = number - first + 1;
                if lines > FUNCTION_LINES_MAX {
                    faults.push(format!("{}: {lines} lines; at most {FUNCTION_LINES_MAX}: {signature}", first + 1));
                }
                begun = None;
            }
        } else if is_function(line) && !line.ends_with('}') && !line.ends_with(';') {
            let indent = line.len() - line.trim_start().len();
            begun = Some((number, line.trim(), format!("{}}}", " ".repeat(indent))));
        }
    }
    faults
}

fn is_function(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().take(5).collect();
    let before = words.iter().take_while(|word| **word != "fn").count();
    let qualifier = |word: &&str| word.starts_with("pub") || ["async", "const", "in", "default"].contains(word);
    before < words.len() && words[..before].iter().all(qualifier)
}

#[test]
fn a_long_function_is_found() {
    let body = "        let _ = 1;\n".repeat(FUNCTION_LINES_MAX);
    let text =
        format!("impl A {{\n    pub(crate) async fn long(&self) {{\n{body}    }}\n\n    fn short() {{\n    }}\n}}\n");
    let faults = long_functions(&text);
    assert_eq!(faults, ["2: 62 lines; at most 60: pub(crate) async fn long(&self) {"]);
}
