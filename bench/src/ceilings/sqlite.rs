//! `SQLite` in a plain loop, with the settings and the table of the product's store.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rusqlite::{Connection, params};

use super::{DESCRIPTION, TITLE, USER};

const SETTINGS: &str = "
    PRAGMA journal_mode = wal;
    PRAGMA synchronous = FULL;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -8192;
    CREATE TABLE todos (
        id BLOB NOT NULL PRIMARY KEY,
        title TEXT NOT NULL,
        description TEXT NOT NULL,
        completed INTEGER NOT NULL,
        user_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;";
const INSERT: &str = "INSERT INTO todos VALUES (?1, ?2, ?3, 0, ?4, ?5, ?5)";

/// Rows a second, with `rows` in each transaction.
pub fn insert(directory: &Path, rows: u32, time: Duration) -> Result<f64> {
    let mut connection = Connection::open(directory.join("ceiling.db"))?;
    connection.execute_batch(SETTINGS)?;
    let start = Instant::now();
    let mut count = 0_u64;
    while start.elapsed() < time {
        let transaction = connection.transaction()?;
        let mut insert = transaction.prepare_cached(INSERT)?;
        for _ in 0..rows {
            count += 1;
            // Ids that grow, as those of the product do.
            let id = u128::from(count).to_be_bytes();
            let at = i64::try_from(count)?;
            insert.execute(params![id.as_slice(), TITLE, DESCRIPTION, USER, at])?;
        }
        drop(insert);
        transaction.commit()?;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let rate = insert(directory.path(), 10, Duration::from_millis(50)).unwrap();
        assert!(rate > 10.0, "{rate}");
    }
}
