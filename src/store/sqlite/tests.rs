//! SQLite runs the contract, and what only a file can do to us.

use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::domain::{Action, Batch, Command, Payload, Position, Range, Record, Timestamp, Todo};
use crate::store::contract::{Place, suite};
use crate::store::{ApplyError, DeadLetters, OpenError, Options, Store, StoreError, sqlite};

pub(crate) struct Directory(TempDir);

impl Directory {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("millpond.db")
    }

    pub(crate) fn open(&self) -> Result<sqlite::Store, OpenError> {
        sqlite::Store::open(&self.file(), Options::default())
    }

    /// Spoils the pages that hold the first of the [`creates`]; the schema stays readable.
    pub(crate) fn damage_todos(&self) {
        let mut bytes = std::fs::read(self.file()).unwrap();
        for page in bytes.chunks_mut(4096) {
            if page.windows(100).any(|part| part == [b'd'; 100]) {
                page.fill(0xff);
            }
        }
        std::fs::write(self.file(), bytes).unwrap();
    }

    /// The file as any other program sees it.
    fn shell(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }
}

impl Place for Directory {
    async fn open(&self, options: Options) -> Store {
        Store::Sqlite(sqlite::Store::open(&self.file(), options).unwrap())
    }

    async fn clear(&self) {
        for file in std::fs::read_dir(self.0.path()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }

    async fn dead_letters(&self) -> DeadLetters {
        DeadLetters::Sqlite(sqlite::DeadLetters::open(&self.file()).unwrap())
    }
}

suite!(Directory::new());

/// Creates of todos `from..to`, of 1 kB each, at the offsets of the same numbers.
pub(crate) fn creates(from: u64, to: u64) -> Batch {
    let record = |offset: u64| Record {
        position: Position {
            partition: 0,
            offset,
        },
        appended_at: Timestamp::default(),
        payload: Payload::Command(Command {
            user: "alice".into(),
            at: Timestamp::default(),
            key: None,
            action: Action::Create {
                id: Uuid::from_u128(offset.into()),
                title: "t".into(),
                description: "d".repeat(1000),
            },
        }),
    };
    Batch {
        ranges: vec![Range {
            partition: 0,
            from,
            to,
        }],
        records: (from..to).map(record).collect(),
        last: Vec::new(),
    }
}

fn setting<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> T {
    connection
        .pragma_query_value(None, name, |row| row.get(0))
        .unwrap()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

fn load(
    store: &sqlite::Store,
    sink: &mut (dyn FnMut(Todo) + Send),
) -> Result<Vec<u64>, StoreError> {
    runtime().block_on(store.reader().load(sink))
}

/// More than a load has under way at once.
const MANY: u64 = 20_000;

#[test]
fn a_load_that_is_broken_off_reads_no_further_and_leaves_the_file() {
    let directory = Directory::new();
    let mut store = Store::Sqlite(directory.open().unwrap());
    let runtime = runtime();
    runtime
        .block_on(store.apply(&mut creates(0, MANY)))
        .unwrap();
    let mut seen = 0;
    runtime.block_on(async {
        let (first, some_have_come) = oneshot::channel();
        let mut first = Some(first);
        let reader = store.reader();
        let mut sink = |_| {
            seen += 1;
            first.take().map(|first| first.send(()));
        };
        tokio::select! {
            biased;
            _ = some_have_come => {}
            _ = reader.load(&mut sink) => {}
        }
    });
    // Ends with the thread that reads.
    drop(runtime);
    assert!(seen > 0 && seen < MANY, "{seen}");
    drop(store);
    let wal = directory.file().with_extension("db-wal");
    assert!(!wal.exists(), "somebody has the file open");
}

fn count(store: &sqlite::Store) -> usize {
    let mut todos = 0;
    load(store, &mut |_| todos += 1).unwrap();
    todos
}

#[test]
fn a_full_disk_applies_nothing_and_passes() {
    let directory = Directory::new();
    let mut store = directory.open().unwrap();
    store.apply(&mut creates(0, 10)).unwrap();
    store.allow_pages(5);
    let refused = store.apply(&mut creates(10, 1000));
    assert!(
        matches!(&refused, Err(ApplyError::NotApplied(reason)) if reason.contains("full")),
        "{refused:?}"
    );
    assert_eq!(count(&store), 10);
    store.apply(&mut creates(10, 11)).unwrap();

    store.allow_pages(1 << 20);
    store.apply(&mut creates(11, 1000)).unwrap();
    assert_eq!(count(&store), 1000);
}

#[test]
fn a_held_write_lock_applies_nothing_and_passes() {
    let directory = Directory::new();
    let mut store = directory.open().unwrap();
    store
        .connection
        .busy_timeout(std::time::Duration::ZERO)
        .unwrap();
    let shell = directory.shell();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.apply(&mut creates(0, 1));
    assert!(
        matches!(refused, Err(ApplyError::NotApplied(_))),
        "{refused:?}"
    );
    shell.execute_batch("ROLLBACK").unwrap();
    store.apply(&mut creates(0, 1)).unwrap();
}

#[test]
fn a_damaged_file_is_not_known_and_never_retried() {
    let directory = Directory::new();
    let mut store = directory.open().unwrap();
    store.apply(&mut creates(0, 200)).unwrap();
    drop(store);
    directory.damage_todos();
    let mut store = directory.open().unwrap();
    let applied = store.apply(&mut creates(200, 201));
    assert!(
        matches!(applied, Err(ApplyError::Unknown(_))),
        "{applied:?}"
    );
    let loaded = load(&store, &mut |_| {});
    assert!(matches!(loaded, Err(StoreError::Broken(_))), "{loaded:?}");
}

#[test]
fn commits_are_synced_and_the_wal_is_ours_to_checkpoint() {
    let directory = Directory::new();
    let mut store = directory.open().unwrap();
    assert_eq!(setting::<String>(&store.connection, "journal_mode"), "wal");
    assert_eq!(setting::<i64>(&store.connection, "synchronous"), 2);
    let wal = directory.0.path().join("millpond.db-wal");
    let wal_bytes = || std::fs::metadata(&wal).unwrap().len();
    for batch in 0..20 {
        store
            .apply(&mut creates(batch * 2000, (batch + 1) * 2000))
            .unwrap();
        store.settle().unwrap();
    }
    let most = 2 * 4096 * u64::try_from(super::CHECKPOINT_PAGES).unwrap();
    assert!(wal_bytes() < most, "the WAL has {} bytes", wal_bytes());
}

#[test]
#[cfg(unix)]
fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new();
    let store = directory.open().unwrap();
    for file in std::fs::read_dir(directory.0.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    drop(store);
}

#[test]
fn a_newer_schema_is_refused() {
    let directory = Directory::new();
    drop(directory.open().unwrap());
    directory
        .shell()
        .execute_batch(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
             VALUES (99, 'future', '2030-01-01T00:00:00Z', '1')",
        )
        .unwrap();
    let refused = directory.open().err().unwrap();
    assert!(
        matches!(
            refused,
            OpenError::Newer {
                found: 99,
                known: 1
            }
        ),
        "{refused}"
    );
}

#[test]
fn another_programs_file_is_refused_and_left_as_it_is() {
    let directory = Directory::new();
    for contents in [
        "CREATE TABLE other (x)",
        "PRAGMA application_id = 7; CREATE TABLE other (x)",
    ] {
        directory.shell().execute_batch(contents).unwrap();
        let before = std::fs::read(directory.file()).unwrap();
        let refused = directory.open().err().unwrap();
        assert!(matches!(refused, OpenError::Foreign(_)), "{refused}");
        assert_eq!(std::fs::read(directory.file()).unwrap(), before);
        std::fs::remove_file(directory.file()).unwrap();
    }
    std::fs::write(
        directory.file(),
        "a text, and no database at all. ".repeat(50),
    )
    .unwrap();
    let refused = directory.open().err().unwrap();
    assert!(matches!(refused, OpenError::Foreign(_)), "{refused}");
}

#[test]
fn a_directory_that_is_not_there_is_said_so() {
    let directory = Directory::new();
    let refused = sqlite::Store::open(&directory.0.path().join("no/file"), Options::default());
    assert!(matches!(refused, Err(OpenError::Failed(_))));
}
