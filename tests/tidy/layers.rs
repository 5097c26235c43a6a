//! Dependencies point one way, and what touches the world stands in one place each.

use std::collections::BTreeMap;

use crate::assert_none;
use crate::tree::{Source, find_words, is_word, library, read};

/// What each module of the library may name. Who is not listed may name nothing.
const MAY_NAME: [(&str, &[&str]); 21] = [
    ("domain", &[]),
    ("clock", &["domain"]),
    ("fault", &[]),
    ("stage", &[]),
    ("metrics", &[]),
    ("links", &["metrics"]),
    ("kafka", &["clock"]),
    ("log", &["clock", "domain", "kafka"]),
    ("store", &["domain", "fault"]),
    ("feed", &["domain", "kafka"]),
    ("marks", &["domain"]),
    ("snapshot", &["clock", "domain", "feed", "marks", "store"]),
    (
        "worker",
        &["clock", "domain", "fault", "feed", "log", "store"],
    ),
    ("limit", &["clock", "domain"]),
    (
        "http",
        &[
            "clock", "domain", "limit", "links", "log", "marks", "metrics", "snapshot", "stage",
            "store",
        ],
    ),
    ("seed", &["clock", "domain", "log", "marks", "snapshot"]),
    ("control", &["seed"]),
    ("runtime", &["clock", "http", "stage"]),
    (
        "config",
        &["feed", "http", "limit", "log", "runtime", "store"],
    ),
    (
        "app",
        &[
            "clock", "domain", "fault", "feed", "kafka", "limit", "links", "log", "marks",
            "metrics", "runtime", "seed", "snapshot", "stage", "store", "worker",
        ],
    ),
    (
        "cli",
        &[
            "app", "clock", "config", "control", "domain", "fault", "http", "limit", "runtime",
            "seed", "stage",
        ],
    ),
];

/// Back ends, and who may name them besides the port they belong to.
/// (`embedded` in the store is refinery's word for its migrations.)
const BACK_ENDS: [(&str, &[&str]); 9] = [
    ("sqlite", &["src/store/", "src/app/"]),
    ("Sqlite", &["src/store/", "src/app/"]),
    ("postgres", &["src/store/", "src/app/"]),
    ("Postgres", &["src/store/", "src/app/"]),
    (
        "embedded",
        &["src/log/", "src/feed/", "src/store/", "src/app/"],
    ),
    ("Embedded", &["src/log/", "src/feed/", "src/app/"]),
    (
        "kafka",
        &[
            "src/kafka/",
            "src/log/",
            "src/feed/",
            "src/app/",
            "src/lib.rs",
        ],
    ),
    ("Kafka", &["src/log/", "src/feed/", "src/app/"]),
    // Redis is named where people are told of it; its variant here only.
    ("limit::Redis", &["src/limit/", "src/app/"]),
];

/// Crates that belong to one part: the others are spared their types and their changes.
const CRATES: [(&str, &[&str]); 19] = [
    ("bb8", &["src/store/postgres/"]),
    ("bb8_postgres", &["src/store/postgres/"]),
    ("clap", &["src/cli/", "src/config/", "src/runtime/"]),
    ("dotenvy", &["src/cli/"]),
    ("fail", &["src/fault.rs"]),
    ("fred", &["src/limit/redis/"]),
    ("httparse", &["src/http/"]),
    // Methods and status codes are what requests are counted by.
    ("hyper", &["src/http/", "src/metrics/"]),
    ("indicatif", &["src/cli/"]),
    ("ipnet", &["src/config/", "src/http/"]),
    ("jsonwebtoken", &["src/http/auth.rs", "src/http/keys.rs"]),
    ("prometheus", &["src/metrics/"]),
    (
        "rdkafka",
        &["src/kafka/", "src/log/kafka/", "src/feed/kafka/"],
    ),
    ("refinery", &["src/store/"]),
    ("rusqlite", &["src/store/sqlite/"]),
    ("socket2", &["src/http/listener.rs", "src/http/socket.rs"]),
    ("tokio_postgres", &["src/store/postgres/"]),
    ("utoipa", &["src/http/"]),
    ("utoipa_swagger_ui", &["src/http/docs.rs"]),
];

/// What only some may touch.
const WORLD: [(&str, &[&str], &[&str]); 3] = [
    (
        "only `clock` reads time",
        &["src/clock.rs"],
        &[
            "Instant::now",
            "SystemTime::now",
            "UNIX_EPOCH",
            "Utc::now",
            "Zoned::now",
            "Timestamp::now",
        ],
    ),
    (
        "only `config` and `cli` read the environment",
        &["src/config/", "src/cli/"],
        &["std::env", "env::var", "env::vars", "env::args", "dotenvy"],
    ),
    (
        "only `runtime` listens for signals",
        &["src/runtime/"],
        &["tokio::signal", "signal_hook"],
    ),
];

/// What pure code does not need.
const IMPURE: [&str; 11] = [
    "async",
    "rand",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::sync",
    "std::thread",
    "std::time",
    "tokio",
    "tracing",
];

fn may_stand(path: &str, places: &[&str]) -> bool {
    let holds = |place: &&str| path == *place || place.ends_with('/') && path.starts_with(*place);
    places.iter().any(holds)
}

/// The modules at the crate's root that a file names, and where.
fn named(source: &Source) -> Vec<(usize, String)> {
    let program = source.program();
    let depth = source.modules().len();
    let mut named = vec![];
    for at in find_words(&program, "crate") {
        let is_macros = program[..at].ends_with('$');
        if let Some(rest) = program[at..].strip_prefix("crate::").filter(|_| !is_macros) {
            named.extend(heads(rest).into_iter().map(|name| (at, name)));
        }
    }
    for at in find_words(&program, "super") {
        let (mut rest, mut up) = (&program[at..], 0);
        while let Some(further) = rest.strip_prefix("super::") {
            (rest, up) = (further, up + 1);
        }
        // `super::super::x` is found from each of its words; the first climbs highest.
        if up >= depth.max(1) && !program[..at].ends_with("super::") {
            named.extend(heads(rest).into_iter().map(|name| (at, name)));
        }
    }
    named
}

/// The first name of a path, or of each path in a group.
fn heads(rest: &str) -> Vec<String> {
    let rest = rest.trim_start();
    let Some(group) = rest.strip_prefix('{') else {
        let end = rest.bytes().take_while(|byte| is_word(*byte)).count();
        return vec![rest[..end].to_owned()];
    };
    let (mut depth, mut parts) = (0_usize, vec![String::new()]);
    for letter in group.chars() {
        match letter {
            '}' if depth == 0 => break,
            ',' if depth == 0 => parts.push(String::new()),
            _ => {
                match letter {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                parts.last_mut().unwrap().push(letter);
            }
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| heads(part)).collect()
}

#[test]
fn dependencies_point_one_way() {
    let may_name = BTreeMap::from(MAY_NAME);
    let mut found = vec![];
    for source in library() {
        let modules = source.modules();
        let Some(module) = modules.first().filter(|name| **name != "bin") else {
            continue;
        };
        let Some(allowed) = may_name.get(module) else {
            found.push(format!(
                "{}: `{module}` has no place in the table",
                source.path
            ));
            continue;
        };
        for (at, name) in named(&source) {
            if name != *module && !allowed.contains(&name.as_str()) {
                found.push(format!("{}: `{module}` names `{name}`", source.at(at)));
            }
        }
    }
    assert_none("dependencies point one way", &found);
}

#[test]
fn the_table_of_layers_has_no_circle() {
    // Repeatedly take away who names only what was taken away before; what is left is a circle.
    let mut left = BTreeMap::from(MAY_NAME);
    while let Some(lowest) = left
        .iter()
        .find(|(_, names)| !names.iter().any(|name| left.contains_key(name)))
        .map(|(module, _)| *module)
    {
        left.remove(lowest);
    }
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn every_module_of_the_crate_is_in_the_table() {
    let declared = read("src/lib.rs");
    let declared = declared
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut table: Vec<&str> = MAY_NAME.iter().map(|(module, _)| *module).collect();
    table.sort_unstable();
    assert_eq!(declared.collect::<Vec<_>>(), table);
}

#[test]
fn binaries_name_only_the_command_line() {
    let mut found = vec![];
    for source in library() {
        let program = source.program();
        for at in find_words(&program, "millpond") {
            let rest = program[at..].strip_prefix("millpond::").unwrap_or_default();
            if !rest.starts_with("cli::") {
                found.push(source.at(at));
            }
        }
    }
    assert_none("binaries name only `millpond::cli`", &found);
}

#[test]
fn only_app_names_back_ends() {
    let mut found = vec![];
    for source in library() {
        let program = source.program();
        for (name, places) in BACK_ENDS {
            if may_stand(&source.path, places) {
                continue;
            }
            let at = find_words(&program, name);
            found.extend(
                at.into_iter()
                    .map(|at| format!("{}: {name}", source.at(at))),
            );
        }
    }
    assert_none("only `app` names back ends", &found);
}

#[test]
fn a_crate_that_belongs_to_one_part_is_named_there_only() {
    let mut found = vec![];
    for source in library() {
        let program = source.program();
        for (name, places) in CRATES {
            if may_stand(&source.path, places) {
                continue;
            }
            let at = find_words(&program, &format!("{name}::"));
            found.extend(
                at.into_iter()
                    .map(|at| format!("{}: {name}", source.at(at))),
            );
        }
    }
    assert_none("a crate is named outside its part", &found);
}

#[test]
fn time_the_environment_and_signals_are_read_in_one_place_each() {
    for (rule, places, words) in WORLD {
        let mut found = vec![];
        for source in library() {
            if may_stand(&source.path, places) {
                continue;
            }
            let program = source.program();
            for word in words {
                let at = find_words(&program, word);
                found.extend(
                    at.into_iter()
                        .map(|at| format!("{}: {word}", source.at(at))),
                );
            }
        }
        assert_none(rule, &found);
    }
}

#[test]
fn the_domain_is_pure() {
    let mut found = vec![];
    for source in library() {
        if source.modules().first() != Some(&"domain") {
            continue;
        }
        let program = source.program();
        for word in IMPURE {
            let at = find_words(&program, word);
            found.extend(
                at.into_iter()
                    .map(|at| format!("{}: {word}", source.at(at))),
            );
        }
    }
    assert_none("the domain is pure", &found);
}

#[test]
fn paths_and_groups_are_read_as_rust_reads_them() {
    assert_eq!(heads("clock::{self, now}"), ["clock"]);
    assert_eq!(heads("{a::{b, c}, d as e,\n f::*,}"), ["a", "d", "f"]);
}
