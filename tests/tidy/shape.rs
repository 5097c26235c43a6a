//! Sizes: what does not fit on a few screens is cut.

use crate::assert_none;
use crate::tree::{end_of_braces, find_words, sources};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// Longer files, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

#[test]
fn files_are_short() {
    let mut found = vec![];
    for source in sources() {
        let lines = source.text.lines().count();
        let is_long = lines > FILE_LINES_MAX;
        let may_be_long = LONG_FILES.iter().any(|(path, _)| *path == source.path);
        match (is_long, may_be_long) {
            (true, false) => found.push(format!("{}: {lines} lines", source.path)),
            (false, true) => found.push(format!("{} needs no exception any more", source.path)),
            _ => {}
        }
    }
    assert_none("at most 400 lines in a file", &found);
}

#[test]
fn functions_are_short() {
    let mut found = vec![];
    for source in sources() {
        for at in find_words(&source.code, "fn") {
            let Some(body) = source.code[at..].find(['{', ';']) else {
                continue;
            };
            // A type such as `fn() -> T`, or a declaration without a body.
            let is_type = source.code[at + 2..].trim_start().starts_with('(');
            if is_type || source.code[at + body..].starts_with(';') {
                continue;
            }
            let end = end_of_braces(&source.code, at + body);
            let lines = source.code[at..end].lines().count();
            if lines > FUNCTION_LINES_MAX {
                found.push(format!("{}: {lines} lines", source.at(at)));
            }
        }
    }
    assert_none("at most 70 lines in a function", &found);
}

#[test]
fn every_file_says_what_lives_in_it() {
    let sources = sources().into_iter();
    let found: Vec<String> = sources
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    assert_none("every file opens with `//!`", &found);
}

#[test]
fn no_file_is_a_drawer_for_everything() {
    const DRAWERS: [&str; 8] = [
        "common", "helper", "helpers", "manager", "misc", "util", "utils", "shared",
    ];
    let is_drawer = |path: &str| {
        let mut names = path.split(['/', '.', '_', '-']);
        names.any(|name| DRAWERS.contains(&name))
    };
    let sources = sources().into_iter().map(|source| source.path);
    let found: Vec<String> = sources.filter(|path| is_drawer(path)).collect();
    assert_none("a name that says nothing", &found);
}
