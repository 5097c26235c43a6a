//! What may not be written.

use crate::assert_none;
use crate::tree::{Source, files, find_words, has_extension, library, read, sources};

/// Never in code; each is put together here so that this file does not hold it.
const NEVER: [&str; 6] = [
    "dbg!",
    "todo!",
    "unimplemented!",
    "#[ignore",
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// Pauses in tests, each with its reason: tests wait for conditions, not for times.
const PAUSES: [(&str, &str); 2] = [
    (
        "tests/integration/harness/eventually.rs",
        "between two looks at the condition that a test waits for",
    ),
    (
        "tests/integration/admission/told.rs",
        "a client that waits as it was told is what is tested",
    ),
];

/// Keywords of SQL that are not also names of columns here.
const SQL: [&str; 24] = [
    "select",
    "insert",
    "into",
    "update",
    "delete",
    "from",
    "where",
    "create",
    "table",
    "index",
    "values",
    "join",
    "order",
    "group",
    "limit",
    "conflict",
    "primary",
    "unique",
    "references",
    "null",
    "check",
    "union",
    "distinct",
    "returning",
];

/// How a statement begins.
const STATEMENTS: [&str; 9] = [
    "select ", "insert ", "update ", "delete ", "create ", "pragma ", "begin", "commit", "rollback",
];

fn all(source: &Source, text: &str, words: &[&str]) -> Vec<String> {
    let hits = words.iter().flat_map(|word| {
        let at = find_words(text, word).into_iter();
        at.map(move |at| format!("{}: {word}", source.at(at)))
    });
    hits.collect()
}

#[test]
fn nothing_is_left_undone() {
    let mut found = vec![];
    for source in sources() {
        found.extend(all(&source, &source.code, &NEVER[..4]));
        if !source.path.starts_with("tests/tidy/") {
            found.extend(all(&source, &source.text, &NEVER[4..]));
        }
    }
    assert_none("left undone", &found);
}

#[test]
fn the_program_does_not_unwrap() {
    let sources = library().into_iter();
    let found: Vec<String> = sources
        .flat_map(|source| all(&source, &source.program(), &[".unwrap()"]))
        .collect();
    assert_none(
        "an `expect` names the invariant, an `unwrap` does not",
        &found,
    );
}

#[test]
fn tests_do_not_sleep() {
    let mut found = vec![];
    for source in sources() {
        let at = find_words(&source.code, "sleep(").into_iter();
        let pauses: Vec<usize> = at.filter(|at| source.is_test_at(*at)).collect();
        let may = PAUSES.iter().any(|(path, _)| *path == source.path);
        if may && pauses.is_empty() {
            found.push(format!("{} needs no exception any more", source.path));
        } else if !may {
            found.extend(pauses.into_iter().map(|at| source.at(at)));
        }
    }
    assert_none("tests wait for conditions, not for times", &found);
}

#[test]
fn exceptions_from_lints_have_a_reason() {
    let mut found = vec![];
    for source in sources() {
        for attribute in ["[allow(", "[expect("] {
            for (at, _) in source.code.match_indices(attribute) {
                let end = source.code[at..]
                    .find(")]")
                    .map_or(source.code.len(), |end| at + end);
                if !source.code[at..end].contains("reason") {
                    found.push(source.at(at));
                }
            }
        }
    }
    assert_none("an exception from a lint has a `reason`", &found);
}

#[test]
fn sql_keywords_are_in_capitals() {
    let mut found = vec![];
    for path in files().iter().filter(|path| has_extension(path, "sql")) {
        for (number, line) in read(path).lines().enumerate() {
            let code = line.split("--").next().unwrap_or_default();
            for word in SQL {
                if !find_words(code, word).is_empty() {
                    found.push(format!("{path}:{}: {word}", number + 1));
                }
            }
        }
    }
    for source in library() {
        for (at, literal) in &source.literals {
            let literal = literal.trim_start_matches(['r', '#', '"']).trim_start();
            let is_statement = STATEMENTS.iter().any(|start| literal.starts_with(start));
            if is_statement && source.path.starts_with("src/store/") {
                found.push(format!("{}: {literal}", source.at(*at)));
            }
        }
    }
    assert_none("SQL keywords are in capitals", &found);
}

#[test]
fn no_path_of_somebodys_machine_is_in_the_tree() {
    let homes = ["work", "root", "home", "Users"].map(|name| format!("/{name}/"));
    let mut found = vec![];
    for path in files() {
        for (number, line) in read(&path).lines().enumerate() {
            // A path begins where no other path goes on.
            let begins = |(at, _): &(usize, &str)| {
                let before = line[..*at].chars().next_back();
                before.is_none_or(|letter| !letter.is_alphanumeric() && !"._-*}".contains(letter))
            };
            if homes
                .iter()
                .any(|home| line.match_indices(home.as_str()).any(|hit| begins(&hit)))
            {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none("a path of somebody's machine", &found);
}
