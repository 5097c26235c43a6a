//! The store of a process that works alone: one SQLite file, one writer.
//!
//! A transaction is durable when `COMMIT` returns (WAL, `synchronous=FULL`). The writer's
//! connection belongs to the worker's thread and its calls block it; lookups have a connection of
//! their own, which in WAL mode neither waits for the writer nor holds it up.

mod apply;
mod dead_letters;
mod fault;
mod forget;
mod open;
mod reader;
mod rows;
#[cfg(test)]
pub(crate) mod tests;

use rusqlite::Connection;

pub use dead_letters::DeadLetters;
pub use reader::Reader;

use super::{Options, StoreError};
use crate::domain::Stored;
use fault::Fault;

/// Pages in the WAL beyond which they are copied into the database, 16 MiB: enough that a page
/// written by many batches is copied once, little enough that starting after a crash takes
/// moments.
const CHECKPOINT_PAGES: i64 = 4096;

pub struct Store {
    /// Closed before the writer's: only the last connection to close takes the WAL into the
    /// database and removes it, and a read-only one cannot.
    reader: Reader,
    connection: Connection,
    options: Options,
}

impl Store {
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    pub(super) fn positions(&self) -> Result<Vec<Stored>, StoreError> {
        let next = rows::positions(&self.connection).map_err(Fault::from)?;
        let stored = |(partition, next_offset)| Stored {
            partition,
            next_offset,
            last: None,
        };
        Ok((0..).zip(next).map(stored).collect())
    }

    /// Lets the file grow by so many pages and no more, as on a disk that fills up.
    #[cfg(test)]
    pub(crate) fn allow_pages(&self, more: i64) {
        let pages: i64 = self
            .connection
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        self.connection
            .pragma_update_and_check(None, "max_page_count", pages + more, |_| Ok(()))
            .unwrap();
    }

    /// Checkpoints by itself and not, as SQLite would, inside `COMMIT`: acknowledgements do not
    /// wait for it, and its errors are seen.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        self.checkpoint_if_due()
            .map_err(|error| Fault::from(error).into())
    }

    fn checkpoint_if_due(&self) -> rusqlite::Result<()> {
        let backlog = |row: &rusqlite::Row<'_>| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?);
        let noop = "PRAGMA wal_checkpoint(NOOP)";
        let pages = self
            .connection
            .prepare_cached(noop)?
            .query_row([], backlog)?;
        if pages >= CHECKPOINT_PAGES {
            let passive = "PRAGMA wal_checkpoint(PASSIVE)";
            self.connection
                .prepare_cached(passive)?
                .query_row([], |_| Ok(()))?;
        }
        Ok(())
    }
}
