//! What is there after a crash, held against what the writers were told.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::ledger::{Content, Entry, Ledger};
use crate::harness::{Launch, Request, Server, get, id};

/// Acknowledged positions a writer whose operations are looked up after each crash.
const OPERATIONS_LOOKED_UP: usize = 10;

/// Gift codes a writer that are claimed again after each crash.
const CODES_CLAIMED_AGAIN: usize = 5;

/// What a crash left in the files.
pub struct OnDisk {
    pub todos: usize,
    /// Codes by user.
    codes: HashMap<String, String>,
}

/// Reads a copy of the files: opening them would repair them before the server does.
pub fn disk(launch: &Launch) -> OnDisk {
    let copy = launch.data_copied();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let database = Connection::open_with_flags(database_in(copy.path()), flags).unwrap();
    let check: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    let todos: i64 = database
        .query_row("SELECT count(*) FROM todos", [], |row| row.get(0))
        .unwrap();
    OnDisk {
        todos: usize::try_from(todos).unwrap(),
        codes: codes_in(&database),
    }
}

/// The one file that says it is a database.
fn database_in(directory: &Path) -> PathBuf {
    let paths = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_database = |path: &PathBuf| fs::read(path).unwrap().starts_with(b"SQLite format 3\0");
    let databases: Vec<PathBuf> = paths.filter(is_database).collect();
    assert_eq!(databases.len(), 1, "{databases:?}");
    databases.into_iter().next().unwrap()
}

/// The gift ledger, found by its columns; each user and each code may stand in it once.
fn codes_in(database: &Connection) -> HashMap<String, String> {
    let find = "SELECT tables.name, users.name, codes.name
        FROM sqlite_schema AS tables,
            pragma_table_info(tables.name) AS users,
            pragma_table_info(tables.name) AS codes
        WHERE tables.type = 'table' AND tables.name LIKE '%gift%'
            AND users.name LIKE 'user%' AND codes.name LIKE '%code%'";
    let names = |row: &rusqlite::Row| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (table, user, code): (String, String, String) =
        database.query_row(find, [], names).unwrap();
    let select = format!("SELECT {user}, {code} FROM {table}");
    let mut statement = database.prepare(&select).unwrap();
    let rows = statement
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .unwrap();
    let rows: Vec<(String, String)> = rows.map(Result::unwrap).collect();
    let distinct: HashSet<&String> = rows.iter().map(|(_, code)| code).collect();
    assert_eq!(distinct.len(), rows.len(), "a code was issued twice");
    let codes: HashMap<String, String> = rows.iter().cloned().collect();
    assert_eq!(codes.len(), rows.len(), "a user has two codes");
    codes
}

/// Every code that a user was told is that user's on disk.
pub fn gift_codes(on_disk: &OnDisk, ledgers: &[Ledger]) {
    let claims = ledgers.iter().flat_map(|ledger| &ledger.claims);
    for claim in claims.filter(|claim| claim.code.is_some()) {
        assert_eq!(
            on_disk.codes.get(&claim.user),
            claim.code.as_ref(),
            "{}",
            claim.user
        );
    }
}

/// Compares what is served with the ledgers, which learn from it what was left open. Gives the
/// number of todos.
pub fn server(server: &Server, ledgers: &mut [Ledger]) -> usize {
    let todos = server.anyone().todos();
    let mut by_title: HashMap<&str, &Value> = HashMap::new();
    for todo in &todos {
        let twice = by_title.insert(todo["title"].as_str().unwrap(), todo);
        assert!(twice.is_none(), "twice: {todo}");
    }
    for ledger in ledgers.iter_mut() {
        for entry in &mut ledger.entries {
            let found = by_title.remove(entry.title.as_str());
            settle(entry, found);
            assert!(found.is_none_or(|todo| todo["user_id"] == ledger.user.as_str()));
        }
        // A create without a key that never came about cannot be sent again safely.
        ledger
            .entries
            .retain(|entry| entry.created || entry.key.is_some());
        operations(server, ledger);
        claims(server, ledger);
    }
    assert!(by_title.is_empty(), "nobody wrote {by_title:?}");
    todos.len()
}

/// Holds one entry against what is there, and leaves it certain.
fn settle(entry: &mut Entry, found: Option<&Value>) {
    let content = found.map(|todo| Content {
        description: todo["description"].as_str().unwrap().to_owned(),
        completed: todo["completed"].as_bool().unwrap(),
    });
    assert!(
        entry.may_be.contains(&content),
        "{content:?} is there for {entry:?}"
    );
    if let Some(todo) = found {
        let id = id(todo).to_owned();
        assert!(
            entry.id.as_ref().is_none_or(|known| *known == id),
            "{id} for {entry:?}"
        );
        entry.id = Some(id);
        entry.created = true;
    }
    entry.may_be = vec![content];
}

/// The latest acknowledged writes are known and were applied.
fn operations(server: &Server, ledger: &Ledger) {
    let mut user = server.user(&ledger.user);
    for (partition, offset) in ledger.positions.iter().rev().take(OPERATIONS_LOOKED_UP) {
        let target = format!("/operations/{partition}-{offset}");
        let operation = user.ask(&get(&target)).expect(200).json();
        assert_eq!(operation["status"], "applied", "{operation}");
    }
}

/// The latest codes are what they were.
fn claims(server: &Server, ledger: &Ledger) {
    let told = ledger.claims.iter().filter(|claim| claim.code.is_some());
    for claim in told.rev().take(CODES_CLAIMED_AGAIN) {
        let mut user = server.user(&claim.user);
        let body = user
            .ask(&Request::of("POST", "/gift-codes"))
            .expect(200)
            .json();
        assert_eq!(
            body["gift_code"].as_str(),
            claim.code.as_deref(),
            "{}",
            claim.user
        );
    }
}

/// No position was given to two writes, and each writer's grew.
pub fn positions(ledgers: &[Ledger]) {
    let mut seen = HashSet::new();
    for ledger in ledgers {
        for position in &ledger.positions {
            assert!(
                seen.insert(position),
                "{position:?} acknowledges two writes"
            );
        }
        let mut last: HashMap<u16, u64> = HashMap::new();
        for (partition, offset) in &ledger.positions {
            let before = last.insert(*partition, *offset);
            assert!(
                before.is_none_or(|before| before < *offset),
                "{partition}-{offset}"
            );
        }
    }
}
