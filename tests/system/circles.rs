//! A rule of the house: modules use each other in one direction, so that each can be read after those that it uses.
//!
//! What a module uses is read from its text: each path that begins with `crate`, `super`, `self` or a module below it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

/// The crates that have no circle. One that has lost its last belongs here.
const HELD: [(&str, Parts); 11] = [
    ("bench", Parts::MayLookUp),
    ("bridge", Parts::Apart),
    ("cli", Parts::MayLookUp),
    ("common", Parts::MayLookUp),
    ("ledger", Parts::MayLookUp),
    ("local", Parts::MayLookUp),
    ("operator", Parts::MayLookUp),
    ("producer", Parts::MayLookUp),
    ("store", Parts::MayLookUp),
    ("testkit", Parts::MayLookUp),
    ("tests", Parts::MayLookUp),
];

/// Whether a module below another may use what that one holds, although that one uses it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    MayLookUp,
    Apart,
}

/// A module's path within its crate; empty for the crate's root.
type Module = Vec<String>;

#[test]
fn modules_use_each_other_in_no_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let found: Vec<String> = HELD
        .iter()
        .flat_map(|(name, parts)| {
            let mut texts = BTreeMap::new();
            read(&root.join(name).join("src"), &[], &mut texts);
            circles(&texts, *parts).into_iter().map(move |circle| format!("{name}: {circle}"))
        })
        .collect();
    assert!(found.is_empty(), "modules that use each other in a circle:\n{}", found.join("\n"));
}

/// The modules of a directory with their texts.
fn read(dir: &Path, above: &[String], texts: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(dir).expect("the directory can be read") {
        let path = entry.expect("the directory can be read").path();
        let stem = path.file_stem().expect("an entry has a name").to_string_lossy().into_owned();
        let is_root = above.is_empty() && ["lib", "main"].contains(&stem.as_str());
        let module = if is_root { Vec::new() } else { [above, &[stem]].concat() };
        if path.is_dir() {
            read(&path, &module, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.insert(module, fs::read_to_string(&path).expect("the file can be read"));
        }
    }
}

/// One shortest circle of each module that is in any, as `a > b > a`.
fn circles(texts: &BTreeMap<Module, String>, parts: Parts) -> Vec<String> {
    let uses: BTreeMap<&Module, BTreeSet<Module>> =
        texts.iter().map(|(module, text)| (module, used(module, text, texts, parts))).collect();
    texts.keys().filter_map(|module| circle(module, &uses)).collect()
}

fn circle(module: &Module, uses: &BTreeMap<&Module, BTreeSet<Module>>) -> Option<String> {
    let mut ways = VecDeque::from([vec![module]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in &uses[way[way.len() - 1]] {
            let longer = [way.as_slice(), &[next]].concat();
            if next == module {
                let names = longer.iter().map(|module| format!("crate::{}", module.join("::")));
                return Some(names.collect::<Vec<_>>().join(" > "));
            }
            if seen.insert(next) {
                ways.push_back(longer);
            }
        }
    }
    None
}

/// The other modules that a module's text names, apart from its tests.
fn used(module: &Module, text: &str, texts: &BTreeMap<Module, String>, parts: Parts) -> BTreeSet<Module> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let is_part_of = |other: &Module| module.starts_with(other);
    paths(&words(&code.join("\n")))
        .iter()
        .filter_map(|path| target(module, path, texts))
        .filter(|other| other != module && (parts == Parts::Apart || !is_part_of(other)))
        .collect()
}

/// The innermost module that a path names.
fn target(module: &Module, path: &[String], texts: &BTreeMap<Module, String>) -> Option<Module> {
    let ups = path.iter().take_while(|word| *word == "super").count();
    let (mut at, rest) = match path.first()?.as_str() {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (module.clone(), &path[1..]),
        "super" => (module[..module.len().checked_sub(ups)?].to_vec(), &path[ups..]),
        child if texts.contains_key(&[module.as_slice(), &[child.to_owned()]].concat()) => (module.clone(), path),
        _ => return None,
    };
    for word in rest {
        let deeper = [at.as_slice(), std::slice::from_ref(word)].concat();
        if !texts.contains_key(&deeper) {
            break;
        }
        at = deeper;
    }
    Some(at)
}

/// Names, `::`, and all else sign by sign.
fn words(code: &str) -> Vec<&str> {
    let is_name = |sign: char| sign.is_alphanumeric() || sign == '_';
    let mut words = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match rest.find(|sign| !is_name(sign)).unwrap_or(rest.len()) {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            name => name,
        };
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    words
}

/// Every path of more than one name, those in braces one by one.
fn paths(words: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        at = if words.get(at + 1) == Some(&"::") { path(words, at, &[], &mut found) } else { at + 1 };
    }
    found
}

/// Reads the path that begins at a word, or the paths in braces, and returns where it ends.
fn path(words: &[&str], at: usize, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    if words.get(at) == Some(&"{") {
        let mut at = at + 1;
        while at < words.len() && words[at] != "}" {
            at = match words[at] {
                "," => at + 1,
                "as" => at + 2,
                _ => path(words, at, before, found),
            };
        }
        return at + 1;
    }
    let names = [before, &[words.get(at).copied().unwrap_or_default().to_owned()]].concat();
    if words.get(at + 1) == Some(&"::") {
        return path(words, at + 2, &names, found);
    }
    found.push(names);
    at + 1
}

#[test]
fn a_circle_is_found_however_it_is_spelt() {
    let check = |parts: Parts, files: &[(&str, &str)], expected: &[&str]| {
        let module = |name: &str| name.split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let texts = files.iter().map(|(name, text)| (module(name), (*text).to_owned())).collect();
        assert_eq!(circles(&texts, parts), expected, "{files:?}");
    };
    let both = ["crate::a > crate::b > crate::a", "crate::b > crate::a > crate::b"];
    check(Parts::MayLookUp, &[("a", "use crate::{b::{X as Y, Z}, c};"), ("b", "use super::a;"), ("c", "")], &both);
    check(Parts::MayLookUp, &[("a", "fn of() { crate::b::to() }"), ("b", "use crate::a::*;")], &both);
    check(
        Parts::MayLookUp,
        &[("a", "use crate::b::X;"), ("b", "// crate::a\n#[cfg(test)]\nmod tests {use super::a;")],
        &[],
    );
    check(Parts::Apart, &[("", "mod a;\nmod b;"), ("a", "use crate::{b as c, b::X};"), ("b", "")], &[]);
    let family = [("a", "mod part;\nuse part::X;"), ("a::part", "use super::LIMIT;")];
    check(Parts::MayLookUp, &family, &[]);
    check(
        Parts::Apart,
        &family,
        &["crate::a > crate::a::part > crate::a", "crate::a::part > crate::a > crate::a::part"],
    );
}
