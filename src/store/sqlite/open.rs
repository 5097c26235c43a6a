//! Opening the file: it must be ours, not newer than this program, and is migrated here.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Result, params};

use super::{Reader, Store};
use crate::store::{OpenError, Options};

mod embedded {
    refinery::embed_migrations!("sql/sqlite");
}

/// "Mlpd" in the file's header: SQLite's way to tell applications apart.
pub(super) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"Mlpd");

/// How long a statement waits for a lock, which only an operator's tool holds (one that removes dead
/// letters, a shell, a backup). A batch that waited so long is not applied.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements kept, more than there are.
const STATEMENTS_MAX: usize = 64;

/// `synchronous=FULL`: in WAL mode each commit is synced. `wal_autocheckpoint=0`: see `settle`.
/// The cache holds what is written and looked at often, 8 MiB; other pages are a copy away, in the
/// system's. It is not larger because SQLite goes through all of it at a commit that has split a
/// page. A WAL that grew (while a long read held it) is cut back to 64 MiB.
const SETTINGS: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = OFF;
    PRAGMA trusted_schema = OFF;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -8192;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA journal_size_limit = 67108864;
";

const SCHEMA_VERSION: &str = "SELECT coalesce(max(version), 0) FROM refinery_schema_history";
const HAS_HISTORY: &str =
    "SELECT count(*) FROM sqlite_schema WHERE name = 'refinery_schema_history'";
const HAS_SCHEMA: &str = "SELECT count(*) FROM sqlite_schema";
const ADD_POSITION: &str = "INSERT INTO positions (partition, next_offset, outcomes_from)
    VALUES (?1, 0, 0) ON CONFLICT DO NOTHING";

impl Store {
    /// Opens or creates the database and brings its schema up to date. The directory must be
    /// there, and no other process may write to it.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        create_private(path).map_err(|error| failed(&error))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection =
            Connection::open_with_flags(path, flags).map_err(|error| failed(&error))?;
        if !claim(&connection).map_err(|error| failed(&error))? {
            return Err(OpenError::Foreign(path.display().to_string()));
        }
        configure(&connection).map_err(|error| failed(&error))?;
        migrate(&mut connection)?;
        for partition in 0..options.partitions {
            connection
                .execute(ADD_POSITION, params![partition])
                .map_err(|error| failed(&error))?;
        }
        let reader = Reader::open(path, BUSY_TIMEOUT).map_err(|error| failed(&error))?;
        Ok(Self {
            reader,
            connection,
            options,
        })
    }
}

pub(super) fn failed(error: &dyn std::error::Error) -> OpenError {
    OpenError::Failed(error.to_string())
}

/// Creates the file, where there is none, for its owner only; SQLite gives the WAL the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut how = fs::OpenOptions::new();
    how.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut how, 0o600);
    how.open(path).map(drop)
}

/// Marks an empty file as ours; `false` where the file is something else.
fn claim(connection: &Connection) -> Result<bool> {
    let id = match connection.pragma_query_value(None, "application_id", |row| row.get(0)) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return Ok(false);
        }
        id => id?,
    };
    let objects: i64 = connection.query_row(HAS_SCHEMA, [], |row| row.get(0))?;
    match (id, objects) {
        (APPLICATION_ID, _) => Ok(true),
        (0, 0) => {
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn configure(connection: &Connection) -> Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update_and_check(None, "journal_mode", "wal", |row| {
        // A file system without shared memory would leave another mode, with other promises.
        match row.get_ref(0)?.as_str()? {
            "wal" => Ok(()),
            _ => Err(rusqlite::Error::InvalidQuery),
        }
    })?;
    connection.execute_batch(SETTINGS)
}

/// Refuses a file that is not this program's, or not of its version.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let checked = || {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        Ok((id, schema_version(connection)?))
    };
    let known = known();
    match checked().map_err(|error: rusqlite::Error| failed(&error))? {
        (APPLICATION_ID, found) if found > known => Err(OpenError::Newer { found, known }),
        (APPLICATION_ID, found) if found < known => Err(OpenError::Older { found, known }),
        (APPLICATION_ID, _) => Ok(()),
        _ => Err(OpenError::Foreign(path.display().to_string())),
    }
}

fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let (found, known) = (schema_version(connection), known());
    let found = found.map_err(|error| failed(&error))?;
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    let runner = embedded::migrations::runner();
    runner.run(connection).map_err(|error| failed(&error))?;
    Ok(())
}

/// The version of the schema that this program was written for.
fn known() -> i64 {
    let runner = embedded::migrations::runner();
    let versions = runner.get_migrations().iter();
    let known = versions.map(|migration| i64::from(migration.version()));
    known.max().unwrap_or_default()
}

fn schema_version(connection: &Connection) -> Result<i64> {
    match connection.query_row(HAS_HISTORY, [], |row| row.get(0))? {
        0 => Ok(0),
        _ => connection.query_row(SCHEMA_VERSION, [], |row| row.get(0)),
    }
}
