//! Looking up what became of a command, beside the writer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Result, Row, params};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::fault::Fault;
use super::rows;
use crate::domain::{Position, Recorded};
use crate::store::{Known, StoreError};

const FIND_OUTCOME: &str = include_str!("../../../sql/sqlite/find_outcome.sql");

/// A read-only connection, used by one lookup at a time: it takes microseconds, and those that
/// wait do so in their tasks rather than in threads.
#[derive(Clone)]
pub struct Outcomes {
    reader: Arc<Mutex<Connection>>,
}

impl Outcomes {
    pub(super) fn open(path: &Path, busy_timeout: Duration) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(path, flags)?;
        reader.busy_timeout(busy_timeout)?;
        Ok(Self {
            reader: Arc::new(Mutex::new(reader)),
        })
    }

    pub(in crate::store) async fn find(&self, position: Position) -> Result<Known, StoreError> {
        let reader = Arc::clone(&self.reader).lock_owned().await;
        match spawn_blocking(move || find(&reader, position)).await {
            Ok(found) => found.map_err(|error| Fault::from(error).into()),
            // The runtime is shutting down.
            Err(error) => Err(StoreError::Again(error.to_string())),
        }
    }
}

fn find(reader: &Connection, position: Position) -> Result<Known> {
    let found = reader
        .prepare_cached(FIND_OUTCOME)?
        .query_row(
            params![position.partition, position.offset.cast_signed()],
            |row| known(row, position),
        )
        .optional()?;
    Ok(found.unwrap_or(Known::Forgotten))
}

fn known(row: &Row<'_>, position: Position) -> Result<Known> {
    let next = row.get::<_, i64>(0)?.cast_unsigned();
    let known_from = row.get::<_, i64>(1)?.cast_unsigned();
    Ok(match row.get_ref(3)?.as_str_or_null()? {
        Some(text) => Known::Exceptional(Recorded {
            position,
            user: row.get(2)?,
            outcome: rows::from_json(text)?,
        }),
        None if position.offset >= next => Known::Ahead,
        None if position.offset < known_from => Known::Forgotten,
        None => Known::Applied,
    })
}
