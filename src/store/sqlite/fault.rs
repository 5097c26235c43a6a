//! What an error of SQLite means for the transaction it met.

use rusqlite::{Connection, Error, ErrorCode, Transaction, TransactionBehavior};

use crate::store::StoreError;

/// Why a transaction did not commit.
#[derive(Debug)]
pub(super) enum Fault {
    /// A command broke a constraint or is too big: poison. Rolled back.
    Refused(String),
    /// The positions are not those the batch begins at. Rolled back.
    Moved,
    /// The storage would not take it now (full, busy). Rolled back.
    NotApplied(String),
    /// Reading or writing the file failed, or a commit did in a way that leaves its effect open.
    /// After a failed fsync what is in the page cache says nothing about the disk, so nothing
    /// may be retried.
    Unknown(String),
}

impl From<Error> for Fault {
    /// For an error before `COMMIT`.
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig) => Self::Refused(text),
            // `None` is not from SQLite: a row that this program cannot have written.
            Some(
                ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase,
            )
            | None => Self::Unknown(text),
            Some(_) => Self::NotApplied(text),
        }
    }
}

impl Fault {
    fn at_end(error: &Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            // The commit frame is the last that is written to the WAL: it is not there.
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => Self::NotApplied(text),
            _ => Self::Unknown(text),
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotApplied(reason) => Self::Again(reason),
            Fault::Moved => Self::Again("the positions moved".to_owned()),
            Fault::Refused(reason) | Fault::Unknown(reason) => Self::Broken(reason),
        }
    }
}

/// Runs `work` in a transaction of its own and commits it; on any fault it is rolled back.
pub(super) fn transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    conclude(connection, End::Commit, work)
}

/// Runs `work` in a transaction of its own and rolls it back in any case.
pub(super) fn rehearsal<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    conclude(connection, End::RollBack, work)
}

#[derive(Clone, Copy)]
enum End {
    Commit,
    RollBack,
}

fn conclude<T>(
    connection: &mut Connection,
    end: End,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    // Immediate: the write lock is taken, and found busy, before there is anything to roll back.
    let mut open = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = work(&mut open).and_then(|done| {
        let ended = match end {
            End::Commit => open.commit(),
            End::RollBack => open.rollback(),
        };
        ended.map(|()| done).map_err(|error| Fault::at_end(&error))
    });
    // Whatever was not ended above is rolled back by now, by its drop or by SQLite itself.
    match done {
        Err(fault) if !connection.is_autocommit() => Err(Fault::Unknown(format!(
            "could not roll back after {fault:?}"
        ))),
        done => done,
    }
}
