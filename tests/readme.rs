//! The README, as a test: its first minute runs, its tables are complete, what it names is there.
//!
//! A block or table that a test reads has a comment in front of it, as in `<!-- first-minute -->`.
#![allow(
    clippy::unwrap_used,
    reason = "all of this crate is tests, and the lint knows only functions marked so"
)]

#[path = "integration/first_minute.rs"]
mod first_minute;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const MILLPOND: &str = env!("CARGO_BIN_EXE_millpond");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// A command in an environment that says nothing about the machine it runs on.
fn command(program: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(directory)
        .stdin(Stdio::null());
    command
}

/// What follows the comment `mark` in the README, up to the next empty line outside of a fence.
fn marked(mark: &str) -> String {
    let readme = read("README.md");
    let (_, after) = readme
        .split_once(&format!("<!-- {mark} -->\n"))
        .unwrap_or_else(|| panic!("the README has no mark {mark}"));
    let end = if after.starts_with("```") {
        "\n```\n"
    } else {
        "\n\n"
    };
    after.split(end).next().unwrap().to_owned()
}

/// The cells of the marked table, without its head.
fn table(mark: &str) -> Vec<Vec<String>> {
    let rows = marked(mark);
    let cells = |row: &str| {
        let inner = row.trim_matches('|').split('|');
        inner.map(|cell| cell.trim().to_owned()).collect()
    };
    rows.lines().skip(2).map(cells).collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

struct Server {
    child: Child,
    base: String,
}

impl Server {
    /// As `make run` would start it, but on a free port and in `home`.
    fn start(home: &Path) -> Self {
        let mut child = command(MILLPOND, home)
            .env("HTTP_HOST", "127.0.0.1")
            .env("HTTP_PORT", "0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let base = line.trim_end().strip_prefix("listening on ").unwrap();
        Self {
            base: base.to_owned(),
            child,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn the_first_minute_runs_as_it_says() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path());

    first_minute::runs_as_it_says(home.path(), &server.base, &[]);

    let url = format!("{}/todos", server.base);
    let mut answer = ureq::get(&url).call().unwrap();
    let todos = answer.body_mut().read_to_string().unwrap();
    let todos: serde_json::Value = serde_json::from_str(&todos).unwrap();
    let todos = todos.as_array().unwrap();
    let titles: Vec<&str> = todos
        .iter()
        .map(|todo| todo["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["Buy bread", "Buy tea", "Buy milk"]);
    assert_eq!(todos[2]["completed"], true);
}

/// A variable as `--help` shows it. The default is `Err` where it is told in words.
#[derive(Debug, PartialEq, Eq)]
struct Variable {
    name: String,
    default: Result<String, String>,
}

fn variables() -> Vec<Variable> {
    let output = command(MILLPOND, Path::new(ROOT)).arg("--help").output();
    let help = String::from_utf8(output.unwrap().stdout).unwrap();
    let blocks = help.split("\n      --").skip(1);
    blocks.filter_map(variable).collect()
}

fn variable(block: &str) -> Option<Variable> {
    let block = block.split_whitespace().collect::<Vec<_>>().join(" ");
    let (words, rest) = block.split_once("[env: ")?;
    let name = rest.split(['=', ']']).next().unwrap();
    let after = |text: &str| {
        let (_, value) = text.split_once("[default: ")?;
        Some(value.split(']').next().unwrap().to_owned())
    };
    let told = || after(words).unwrap_or_else(|| "none".to_owned());
    Some(Variable {
        name: name.to_owned(),
        default: after(rest).ok_or_else(told),
    })
}

#[test]
fn the_configuration_table_is_that_of_help() {
    let documented = table("configuration").into_iter().map(|row| {
        let default = match quoted(&row[1]).first() {
            Some(value) => Ok((*value).to_owned()),
            None => Err(row[1].clone()),
        };
        let name = quoted(&row[0])[0].to_owned();
        Variable { name, default }
    });
    let documented: Vec<Variable> = documented.collect();
    assert!(documented.len() > 30, "{documented:?}");
    assert_eq!(documented, variables());
}

#[test]
fn the_example_environment_is_that_of_help() {
    let example = read("docker/.env.example");
    let lines: Vec<&str> = example.lines().collect();
    let mut found = vec![];
    for pair in lines.windows(2) {
        let Some((name, value)) = pair[1]
            .strip_prefix('#')
            .and_then(|line| line.split_once('='))
        else {
            continue;
        };
        if name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        {
            assert!(pair[0].starts_with("# "), "{name} comes without a reason");
            found.push((name.to_owned(), value.to_owned()));
        }
    }
    let wanted = variables().into_iter().map(|variable| {
        let default = variable.default.unwrap_or_default();
        (variable.name, default)
    });
    assert_eq!(found, wanted.collect::<Vec<_>>());
}

#[test]
fn the_example_environment_is_a_good_one() {
    let home = tempfile::tempdir().unwrap();
    let set: Vec<String> = read("docker/.env.example")
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.starts_with(' ') && !line.ends_with('='))
        .map(str::to_owned)
        .collect();
    assert!(set.len() > 15, "{set:?}");
    fs::write(home.path().join(".env"), set.join("\n")).unwrap();
    let check = command(MILLPOND, home.path())
        .arg("--check-config")
        .output();
    let check = check.unwrap();
    let errors = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{errors}");
}

/// Directories of `src/` that hold more than tests, and the files that lie in none of them.
fn parts(directory: &Path, found: &mut BTreeSet<String>) {
    let paths = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| path.file_stem().unwrap() != "tests") {
        let name = path.strip_prefix(ROOT).unwrap().display();
        if path.is_dir() {
            parts(&path, found);
        } else if directory.ends_with("src") {
            found.insert(name.to_string());
        } else {
            let of = directory.strip_prefix(ROOT).unwrap().display();
            found.insert(format!("{of}/"));
        }
    }
}

#[test]
fn the_source_map_is_complete() {
    let rows = table("source-map");
    let mapped = rows.iter().map(|row| quoted(&row[0])[0].to_owned());
    let mapped: Vec<String> = mapped.collect();
    let mut there = BTreeSet::new();
    parts(&Path::new(ROOT).join("src"), &mut there);
    let rows = mapped.len();
    assert_eq!(BTreeSet::from_iter(mapped), there);
    assert_eq!(rows, there.len(), "something has two rows");
}

#[test]
fn what_the_documents_name_is_there() {
    let promises = table("promises");
    let proofs = promises.iter().flat_map(|row| quoted(&row[1]));
    let proofs = proofs.map(|name| format!("tests/integration/{name}"));
    let texts = [read("README.md"), read("CONTRIBUTING.md")];
    let is_path = |name: &&str| {
        let roots = [
            "src/",
            "tests/",
            "sql/",
            "docker/",
            "k8s/",
            ".ci/",
            "deny.toml",
        ];
        roots.iter().any(|root| name.starts_with(root))
    };
    let paths = texts.iter().flat_map(|text| quoted(text)).filter(is_path);
    let missing: Vec<String> = paths
        .map(str::to_owned)
        .chain(proofs)
        .filter(|path| !Path::new(ROOT).join(path).exists())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_verb_that_the_documents_name_is_one_of_makes() {
    let verbs = read("Makefile");
    let verbs: BTreeSet<&str> = verbs
        .lines()
        .filter_map(|line| line.contains(" ## ").then(|| line.split(':').next())?)
        .collect();
    assert!(verbs.len() > 10, "{verbs:?}");
    for text in [read("README.md"), read("CONTRIBUTING.md")] {
        for start in ["\nmake ", "`make "] {
            for rest in text.split(start).skip(1) {
                let verb = rest.split([' ', '`', '\n']).next().unwrap();
                assert!(verbs.contains(verb), "make {verb}");
            }
        }
    }
}
