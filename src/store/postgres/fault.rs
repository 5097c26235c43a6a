//! What an error of PostgreSQL means for the transaction it met.

use std::error::Error as _;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::store::{OpenError, StoreError};

/// Why a transaction did not commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A command broke a constraint or is too big: poison. The connection lives.
    Refused(String),
    /// The positions are not those the batch begins at. The connection lives.
    Moved,
    /// The server would not do it now. The connection lives.
    Failed(String),
    /// The connection is lost or cannot be made, and nothing was committed.
    Lost(String),
    /// The connection is lost, and nobody can say whether the transaction was committed.
    Unknown(String),
}

impl From<Error> for Fault {
    /// For an error of anything but `COMMIT` and what is sent along with it.
    fn from(error: Error) -> Self {
        match error.as_db_error() {
            Some(db) => Self::of(db),
            None => Self::Lost(text(&error)),
        }
    }
}

impl Fault {
    fn of(error: &DbError) -> Self {
        let text = server_text(error);
        if ended(error) {
            Self::Lost(text)
        } else if is_poison(error.code()) {
            Self::Refused(text)
        } else {
            Self::Failed(text)
        }
    }

    /// For an error of a statement that is sent along with `COMMIT`. If the server says it, the
    /// `COMMIT` behind it did nothing; otherwise it may have been reached.
    pub(super) fn before_commit(error: &Error) -> Self {
        match error.as_db_error() {
            Some(db) => Self::of(db),
            None => Self::Unknown(text(error)),
        }
    }

    /// For an error of `COMMIT` itself. A session may be ended after it has committed.
    pub(super) fn at_commit(error: &Error) -> Self {
        match error.as_db_error() {
            Some(db) if !ended(db) => Self::of(db),
            _ => Self::Unknown(text(error)),
        }
    }

    pub(super) fn is_connection_alive(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Moved | Self::Failed(_) => true,
            Self::Lost(_) | Self::Unknown(_) => false,
        }
    }
}

/// What PostgreSQL refuses of a command: a value that does not fit (class 22), a broken constraint (class 23), or
/// too complex (54000). Everything else is no fault of a command.
fn is_poison(code: &SqlState) -> bool {
    matches!(code.code().get(..2), Some("22" | "23")) || *code == SqlState::PROGRAM_LIMIT_EXCEEDED
}

/// Whether the server ended the session with this error.
fn ended(error: &DbError) -> bool {
    !matches!(error.parsed_severity(), Some(Severity::Error))
}

fn server_text(error: &DbError) -> String {
    format!("{} (SQLSTATE {})", error.message(), error.code().code())
}

/// The whole of an error: its own text says only where it happened.
pub(super) fn text(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        return server_text(db);
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

impl From<Fault> for StoreError {
    /// For work that is no batch: it may be repeated, whatever became of it.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(reason)
            | Fault::Failed(reason)
            | Fault::Lost(reason)
            | Fault::Unknown(reason) => Self::Again(reason),
            Fault::Moved => Self::Again("the positions moved".to_owned()),
        }
    }
}

/// Why the database cannot be opened: an operator has to do something, or it passes by itself.
pub(super) fn open_error(error: &Error) -> OpenError {
    let text = text(error);
    let Some(code) = error.code() else {
        return OpenError::Unreachable(text);
    };
    // Resources, an operator's doing, the system, connections, locks.
    match code.code().get(..2) {
        Some("08" | "40" | "53" | "55" | "57" | "58" | "XX") => OpenError::Unreachable(text),
        _ => OpenError::Failed(text),
    }
}

/// Waits so long and no longer.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Fault::Lost(no_answer(limit))),
    }
}

pub(super) fn no_answer(limit: Duration) -> String {
    format!("no answer within {limit:?}")
}
