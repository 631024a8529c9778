//! Holds `docs/settings.md` to the code: every variable with its flag and default, every key of `loyalty.toml` with its
//! default and bounds.

use std::collections::BTreeSet;

use clap::{Arg, Command, CommandFactory};

use super::config::Config;

const DOCS: &str = include_str!("../../../docs/settings.md");

/// The rows of the table with this first column, without the marks of code.
fn rows(first_column: &str) -> Vec<Vec<String>> {
    let head = format!("| {first_column} |");
    let table = DOCS.lines().skip_while(|line| !line.starts_with(&head)).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    table.skip(2).map(cells).collect()
}

/// What stands in a cell as code, if it begins with code.
fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.split('`').next()
}

/// All arguments of a command and of those below it.
fn arguments(command: &Command) -> Vec<&Arg> {
    command.get_arguments().chain(command.get_subcommands().flat_map(arguments)).collect()
}

#[test]
fn every_variable_is_documented_with_its_flag_and_default() {
    let cli = crate::Cli::command();
    let mut known = BTreeSet::new();
    for argument in arguments(&cli) {
        let Some(variable) = argument.get_env().and_then(std::ffi::OsStr::to_str) else { continue };
        let rows = rows("variable");
        let row = rows.iter().find(|row| code(&row[0]) == Some(variable));
        let row = row.unwrap_or_else(|| panic!("docs/settings.md does not have {variable}"));
        let flag = argument.get_long().map(|long| format!("--{long}"));
        assert_eq!(code(&row[1]).map(str::to_owned), flag, "{variable}");
        if let [default] = argument.get_default_values() {
            assert_eq!(code(&row[2]), default.to_str(), "{variable}");
        }
        known.insert(variable.to_owned());
    }
    let documented: BTreeSet<_> = rows("variable").iter().filter_map(|row| code(&row[0])).map(str::to_owned).collect();
    assert_eq!(documented, known, "the code has no others");
}

/// The file with one key only.
fn file(key: &str, value: &str) -> String {
    let (table, name) = key.split_once('.').expect("a key stands in a table");
    format!("[{table}]\n{name} = {value}\n")
}

/// The keys of a table and of those in it, as the error about an unknown one lists them.
fn keys(table: &str) -> BTreeSet<String> {
    let error = Config::parse(&format!("[{table}]\nnonsense = 1")).expect_err("nonsense is no key");
    let Some((_, listed)) = error.split_once("unknown field `nonsense`, expected ") else {
        return BTreeSet::from([table.to_owned()]);
    };
    listed.split('`').skip(1).step_by(2).flat_map(|key| keys(&format!("{table}.{key}"))).collect()
}

#[test]
fn every_key_of_the_programme_is_documented() {
    let error = Config::parse("nonsense = 1").expect_err("nonsense is no table");
    let (_, tables) = error.split_once("expected ").expect("the error says what is");
    let known: BTreeSet<_> = tables.split('`').skip(1).step_by(2).flat_map(keys).collect();
    let documented: BTreeSet<_> = rows("key").iter().filter_map(|row| code(&row[0])).map(str::to_owned).collect();
    assert_eq!(documented, known);
}

#[test]
fn the_documented_defaults_and_bounds_are_those_of_the_code() {
    let defaults = format!("{:?}", Config::default());
    for row in rows("key") {
        let key = code(&row[0]).expect("a key is code");
        let read = |value: &str| Config::parse(&file(key, value)).map(|config| format!("{config:?}"));
        if let Some(default) = code(&row[1]) {
            assert_eq!(read(default).as_ref(), Ok(&defaults), "{key} = {default}");
        }
        for (bound, beyond) in [(&row[2], -1), (&row[3], 1)] {
            let Some(bound) = code(bound) else { continue };
            assert!(read(bound).is_ok(), "{key} = {bound}");
            let beyond = bound.parse::<i64>().expect("a bound is a number") + beyond;
            assert!(read(&beyond.to_string()).is_err(), "{key} = {beyond} is beyond its bound");
        }
    }
}
