//! Reading beside the writer: what became of a command, and everything there is to serve.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Result, Row, params};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::fault::Fault;
use super::rows;
use crate::domain::{Position, Todo};
use crate::store::{Known, StoreError};

const FIND_OUTCOME: &str = include_str!("../../../sql/sqlite/find_outcome.sql");

/// A read-only connection, used by one lookup at a time: it takes microseconds, and those that
/// wait do so in their tasks rather than in threads.
#[derive(Clone)]
pub struct Reader {
    connection: Arc<Mutex<Connection>>,
    path: PathBuf,
    busy_timeout: Duration,
}

impl Reader {
    pub(super) fn open(path: &Path, busy_timeout: Duration) -> Result<Self> {
        Ok(Self {
            connection: Arc::new(Mutex::new(connect(path, busy_timeout)?)),
            path: path.to_owned(),
            busy_timeout,
        })
    }

    pub(in crate::store) async fn find(&self, position: Position) -> Result<Known, StoreError> {
        let connection = Arc::clone(&self.connection).lock_owned().await;
        match spawn_blocking(move || find(&connection, position)).await {
            Ok(found) => found.map_err(|error| Fault::from(error).into()),
            // The runtime is shutting down.
            Err(error) => Err(StoreError::Again(error.to_string())),
        }
    }

    /// Blocks the thread: alone, everything is loaded before anything is served. The connection is
    /// not the lookups': the last to leave the file takes the WAL with it, which a reader can't.
    #[expect(clippy::unused_async, reason = "other stores wait for a network here")]
    pub(in crate::store) async fn load(
        &self,
        sink: &mut (dyn FnMut(Todo) + Send),
    ) -> Result<Vec<u64>, StoreError> {
        connect(&self.path, self.busy_timeout)
            .and_then(|connection| load(&connection, sink))
            .map_err(|error| Fault::from(error).into())
    }

    pub(in crate::store) async fn positions(&self) -> Result<Vec<u64>, StoreError> {
        let connection = self.connection.lock().await;
        rows::positions(&connection).map_err(|error| Fault::from(error).into())
    }
}

fn connect(path: &Path, busy_timeout: Duration) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_timeout)?;
    Ok(connection)
}

/// In one transaction, which in WAL mode sees one state of the file.
fn load(connection: &Connection, sink: &mut dyn FnMut(Todo)) -> Result<Vec<u64>> {
    let reading = connection.unchecked_transaction()?;
    rows::each_todo(&reading, sink)?;
    let positions = rows::positions(&reading)?;
    reading.finish()?;
    Ok(positions)
}

fn find(connection: &Connection, position: Position) -> Result<Known> {
    let found = connection
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
    let exceptional = match row.get_ref(3)?.as_str_or_null()? {
        Some(text) => Some((row.get(2)?, rows::from_json(text)?)),
        None => None,
    };
    Ok(Known::at(position, next, known_from, exceptional))
}
