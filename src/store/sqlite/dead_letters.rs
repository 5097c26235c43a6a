//! The dead letters, for an operator: also while a server has the file open.

use std::cell::RefCell;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Result, Row, params};

use super::fault::{Fault, transaction};
use super::open;
use crate::domain::{DeadLetter, Position, Timestamp};
use crate::store::{Buried, OpenError, StoreError};

const LIST: &str = "SELECT partition, log_offset, user_id, reason, appended_at FROM dead_letters
    WHERE (partition, log_offset) > (?1, ?2) ORDER BY partition, log_offset LIMIT ?3";
const ONE: &str = "SELECT user_id, reason, payload FROM dead_letters
    WHERE partition = ?1 AND log_offset = ?2";
const REMOVE: &str = "DELETE FROM dead_letters WHERE partition = ?1 AND log_offset = ?2";

/// A connection of its own. Its calls block, for moments.
pub struct DeadLetters {
    connection: RefCell<Connection>,
}

impl DeadLetters {
    /// Opens the file that is there.
    ///
    /// # Errors
    /// There is none, or it is not one of this program's version.
    pub fn open(path: &Path) -> std::result::Result<Self, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags);
        let connection = connection.map_err(|error| open::failed(&error))?;
        open::check(&connection, path)?;
        // Copying the WAL is the writer's part, who sees what goes wrong with it.
        let alone = connection.execute_batch("PRAGMA wal_autocheckpoint = 0");
        alone.map_err(|error| open::failed(&error))?;
        Ok(Self {
            connection: connection.into(),
        })
    }

    pub(in crate::store) fn list(
        &self,
        after: Option<Position>,
        limit: u32,
    ) -> std::result::Result<Vec<Buried>, StoreError> {
        let list = || -> Result<Vec<Buried>> {
            let connection = self.connection.borrow();
            let (partition, offset) = after.map_or((-1, 0), key);
            let mut statement = connection.prepare_cached(LIST)?;
            let rows = statement.query_map(params![partition, offset, limit], buried)?;
            rows.collect()
        };
        list().map_err(|error| Fault::from(error).into())
    }

    pub(in crate::store) fn one(
        &self,
        position: Position,
    ) -> std::result::Result<Option<DeadLetter>, StoreError> {
        let connection = self.connection.borrow();
        let (partition, offset) = key(position);
        let found = connection.query_row(ONE, params![partition, offset], |row| {
            Ok(DeadLetter {
                position,
                user: row.get(0)?,
                reason: row.get(1)?,
                payload: row.get(2)?,
            })
        });
        found.optional().map_err(|error| Fault::from(error).into())
    }

    pub(in crate::store) fn remove(
        &self,
        positions: &[Position],
    ) -> std::result::Result<(), StoreError> {
        let mut connection = self.connection.borrow_mut();
        transaction(&mut connection, |open| {
            let mut remove = open.prepare_cached(REMOVE)?;
            for position in positions {
                let (partition, offset) = key(*position);
                remove.execute(params![partition, offset])?;
            }
            Ok(())
        })
        .map_err(StoreError::from)
    }
}

fn key(position: Position) -> (i32, i64) {
    (position.partition.into(), position.offset.cast_signed())
}

fn buried(row: &Row<'_>) -> Result<Buried> {
    Ok(Buried {
        position: Position {
            partition: row.get(0)?,
            offset: row.get::<_, i64>(1)?.cast_unsigned(),
        },
        user: row.get(2)?,
        reason: row.get(3)?,
        appended_at: Timestamp::from_micros(row.get(4)?),
    })
}
