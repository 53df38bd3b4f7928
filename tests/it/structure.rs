//! The shape of `src/`: no circles between files or folders, and no file that is too long.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A file's lines, its unit tests not counted.
const LONGEST_FILE: usize = 500;

/// What a file's code is without its unit tests, which come last, and without comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file");
    let (code, _) = text.split_once("\nmod tests {").unwrap_or((&text, ""));
    let lines = code.lines();
    let code = lines.filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// All source files, by the path of their module: `wire::message`, `wire` for `wire/mod.rs`.
fn modules() -> BTreeMap<String, PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                if path != source.join("bin") {
                    folders.push(path);
                }
                continue;
            }
            if path.extension().is_none_or(|end| end != "rs") {
                continue;
            }
            let name = path.strip_prefix(&source).expect("a file in src");
            let name = name.with_extension("").display().to_string();
            let name = name.trim_end_matches("/mod").replace('/', "::");
            // Tests of both ends, kept where they reach what is private.
            if name != "fuzz" && name != "keys::middle" {
                modules.insert(name, path);
            }
        }
    }
    assert!(modules.len() > 40, "{modules:?}");
    modules
}

/// Every path that begins with `crate::` in some code, with the groups of a `use` taken apart.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (start, begin) in code.match_indices("crate::") {
        take_apart("", &code[start + begin.len()..], &mut found);
    }
    found
}

/// Takes one path or group apart, and returns what is left after it.
fn take_apart<'a>(before: &str, text: &'a str, found: &mut Vec<String>) -> &'a str {
    let is_path = |character: char| character.is_alphanumeric() || "_:".contains(character);
    let end = text.find(|character| !is_path(character));
    let (path, mut rest) = text.split_at(end.unwrap_or(text.len()));
    let path = format!("{before}{path}");
    let Some(group) = rest.strip_prefix('{') else {
        found.push(path.trim_end_matches(':').to_owned());
        return rest;
    };
    rest = group.trim_start();
    while !rest.starts_with('}') && !rest.is_empty() {
        rest = take_apart(&path, rest, found).trim_start();
        rest = rest.trim_start_matches(',').trim_start();
    }
    rest.get(1..).unwrap_or_default()
}

/// The module that a path leads to: the longest part of it that is one.
fn module<'a>(modules: &'a BTreeMap<String, PathBuf>, path: &str) -> &'a str {
    let mut part = path;
    loop {
        if let Some((name, _)) = modules.get_key_value(part) {
            return name;
        }
        match part.rsplit_once("::") {
            Some((before, _)) => part = before,
            None => return "lib",
        }
    }
}

/// Which file uses which.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules();
    let used_by = |(name, path): (&String, &PathBuf)| {
        let code = code(path);
        assert!(
            !code.contains("super::"),
            "{name}: paths are written from the root, `crate::`"
        );
        let used = paths(&code).into_iter();
        let used: BTreeSet<String> = used
            .map(|path| module(&modules, &path).to_owned())
            .collect();
        assert!(
            !used.contains("lib"),
            "{name} uses the face, which uses all"
        );
        (name.clone(), used)
    };
    let uses = modules.iter().filter(|(name, _)| *name != "lib");
    uses.map(used_by).collect()
}

/// A circle, if there is one: each uses the next, and the last one the first.
fn circle(uses: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit(
        uses: &BTreeMap<String, BTreeSet<String>>,
        name: &str,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        if let Some(begin) = way.iter().position(|passed| passed == name) {
            return Some(way[begin..].to_vec());
        }
        if done.contains(name) {
            return None;
        }
        way.push(name.to_owned());
        let next = uses.get(name).into_iter().flatten();
        let found = next
            .filter(|next| *next != name)
            .find_map(|next| visit(uses, next, way, done));
        way.pop();
        done.insert(name.to_owned());
        found
    }
    let mut done = BTreeSet::new();
    uses.keys()
        .find_map(|name| visit(uses, name, &mut Vec::new(), &mut done))
}

#[test]
fn no_files_and_no_folders_use_each_other_in_a_circle() {
    let files = uses();
    assert_eq!(circle(&files), None, "files");
    let folder = |name: &str| name.split("::").next().unwrap_or(name).to_owned();
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, used) in &files {
        let used = used.iter().map(|name| folder(name));
        folders.entry(folder(file)).or_default().extend(used);
    }
    assert_eq!(circle(&folders), None, "folders");
}

#[test]
fn a_circle_is_found() {
    let uses = [("a", ["b"]), ("b", ["c"]), ("c", ["b"])];
    let uses = uses.map(|(name, used)| (name.to_owned(), used.map(str::to_owned).into()));
    let found = circle(&uses.into()).expect("a circle");
    assert_eq!(found, ["b", "c"]);
    let code = "use crate::a::{b::C, d::{self, E}};\nlet x = crate::f::g();";
    assert_eq!(paths(code), ["a::b::C", "a::d::self", "a::d::E", "f::g"]);
}

#[test]
fn the_pure_rooms_know_no_threads() {
    for (file, used) in uses() {
        let pure = [
            "wire",
            "keys",
            "measurement",
            "average",
            "discipline",
            "election",
        ];
        let folder = file.split("::").next().unwrap_or_default();
        let shell = used
            .iter()
            .find(|name| name.starts_with("master") || name.starts_with("follower"));
        assert!(
            !pure.contains(&folder) || shell.is_none(),
            "{file} uses {shell:?}"
        );
    }
}

#[test]
fn no_file_is_too_long() {
    for (name, path) in modules() {
        let text = fs::read_to_string(&path).expect("a source file");
        let (code, _) = text.split_once("\nmod tests {").unwrap_or((&text, ""));
        let lines = code.lines().count();
        assert!(lines <= LONGEST_FILE, "{name} has {lines} lines");
    }
}
