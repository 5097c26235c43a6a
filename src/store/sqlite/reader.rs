//! Reading beside the writer: what became of a command, and everything there is to serve.

use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, InterruptHandle, OpenFlags, OptionalExtension, Result, Row, params};
use tokio::sync::{Mutex, mpsc};
use tokio::task::spawn_blocking;

use super::fault::Fault;
use super::rows;
use crate::domain::{Position, Todo};
use crate::store::{Known, StoreError};

const FIND_OUTCOME: &str = include_str!("../../../sql/sqlite/find_outcome.sql");

/// Todos of one piece of a load: handed over at once, so that threads wake each other seldom.
const PIECE_TODOS: usize = 1_000;
/// Pieces that wait for who builds a snapshot of them; then the reading waits.
const PIECES_MAX: usize = 4;

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

    /// The connection is not the lookups': the last to leave the file takes the WAL with it, which a
    /// reader can't.
    ///
    /// # Cancel safety
    /// The load is interrupted, and its connection ends with it.
    pub(in crate::store) async fn load(
        &self,
        sink: &mut (dyn FnMut(Todo) + Send),
    ) -> Result<Vec<u64>, StoreError> {
        let connection = connect(&self.path, self.busy_timeout).map_err(Fault::from)?;
        // Sorting comes before the first piece, and takes most of the time.
        let _broken_off = Interrupt(connection.get_interrupt_handle());
        let (pieces, mut arriving) = mpsc::channel(PIECES_MAX);
        let loading = spawn_blocking(move || load(&connection, &pieces));
        while let Some(piece) = arriving.recv().await {
            for todo in piece {
                sink(todo);
            }
        }
        match loading.await {
            Ok(loaded) => loaded.map_err(|error| Fault::from(error).into()),
            // The runtime is shutting down.
            Err(error) => Err(StoreError::Again(error.to_string())),
        }
    }

    pub(in crate::store) async fn positions(&self) -> Result<Vec<u64>, StoreError> {
        let connection = self.connection.lock().await;
        rows::positions(&connection).map_err(|error| Fault::from(error).into())
    }
}

/// Ends what its connection is at when it is dropped.
struct Interrupt(InterruptHandle);

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.interrupt();
    }
}

fn connect(path: &Path, busy_timeout: Duration) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_timeout)?;
    Ok(connection)
}

/// In one transaction, which in WAL mode sees one state of the file. Ends early where nobody takes
/// the pieces any more.
fn load(connection: &Connection, pieces: &mpsc::Sender<Vec<Todo>>) -> Result<Vec<u64>> {
    let reading = connection.unchecked_transaction()?;
    let mut piece = Vec::with_capacity(PIECE_TODOS);
    rows::each_todo(&reading, &mut |todo| {
        piece.push(todo);
        if piece.len() < PIECE_TODOS {
            return true;
        }
        let full = mem::replace(&mut piece, Vec::with_capacity(PIECE_TODOS));
        pieces.blocking_send(full).is_ok()
    })?;
    // Whoever has left does not miss the last ones either.
    drop(pieces.blocking_send(piece));
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
