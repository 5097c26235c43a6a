//! The port to the store: where commands take effect, exactly once, and are on record after.
//!
//! The worker owns the [`Store`]. Servers read through a [`Reader`], which never waits for the
//! worker: what became of a command, and everything there is to serve.

#[cfg(test)]
mod contract;
mod judge;
pub mod postgres;
pub mod sqlite;

use std::time::Duration;

use crate::domain::{
    Applied, Batch, DeadLetter, Outcome, Position, Range, Recorded, Stored, Timestamp, Todo,
};

/// What a store has to know, and how long it remembers.
#[derive(Clone, Debug)]
pub struct Options {
    /// Partitions of the log, numbered from 0. Alone there is one.
    pub partitions: u16,
    /// Gift codes there are in all; 0 means no limit.
    pub gift_stock: u64,
    /// How long an idempotency key counts. Clients are promised 24 h; the hour more is for
    /// batches that are judged by their earliest record and for clocks that are set back.
    pub key_retention: Duration,
    /// How long exceptional outcomes are on record. Clients are promised 7 days.
    pub outcome_retention: Duration,
}

impl Default for Options {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_hours(1);
        Self {
            partitions: 1,
            gift_stock: 0,
            key_retention: HOUR * 25,
            outcome_retention: HOUR * 24 * 7,
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0} is not a Millpond database; it was left as it is")]
    Foreign(String),
    #[error("the database has schema version {found}, this program knows {known}: run a newer one")]
    Newer { found: i64, known: i64 },
    #[error(
        "the database has schema version {found}, this program needs {known}: run `millpond migrate`"
    )]
    Older { found: i64, known: i64 },
    #[error(
        "the database holds {found} partitions, {configured} are configured: set KAFKA_PARTITIONS \
         to what the command topic has"
    )]
    Partitions { found: u32, configured: u16 },
    /// Waiting does not help.
    #[error("cannot open the database: {0}")]
    Failed(String),
    /// It does not answer now; opening may be tried again.
    #[error("cannot reach the database: {0}")]
    Unreachable(String),
}

/// Why a batch was not applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Nothing was applied, for certain; the batch may be tried again.
    #[error("not applied: {0}")]
    NotApplied(String),
    /// Nobody can say whether the batch is applied: stop, start again and read the positions.
    #[error("not known whether applied: {0}")]
    Unknown(String),
    /// Another writer moved the positions, so the batch does not begin where the store stands.
    /// Nothing was applied. Holds the next offset per partition.
    #[error("the positions moved; the next offsets are {0:?}")]
    Moved(Vec<u64>),
}

/// Why the store did not do something that is not a batch.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing was changed; the call may be repeated later.
    #[error("the store is not available: {0}")]
    Again(String),
    /// The storage failed: stop.
    #[error("the store is broken: {0}")]
    Broken(String),
}

/// What is known of a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Plainly applied.
    Applied,
    Exceptional(Recorded),
    /// Its outcome is no longer on record, or there is no such partition.
    Forgotten,
    /// At or above the next offset to apply.
    Ahead,
}

impl Known {
    /// By the next offset of the position's partition, the offset from which on exceptional
    /// outcomes are on record there, and what is on record for the position: user and outcome.
    fn at(
        position: Position,
        next_offset: u64,
        outcomes_from: u64,
        exceptional: Option<(String, Outcome)>,
    ) -> Self {
        match exceptional {
            Some((user, outcome)) => Self::Exceptional(Recorded {
                position,
                user,
                outcome,
            }),
            None if position.offset >= next_offset => Self::Ahead,
            None if position.offset < outcomes_from => Self::Forgotten,
            None => Self::Applied,
        }
    }
}

/// What stands in the list of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buried {
    pub position: Position,
    /// Empty where the command could not be read.
    pub user: String,
    pub reason: String,
    pub appended_at: Timestamp,
}

/// The dead letters, for an operator: beside whoever else has the store open.
pub enum DeadLetters {
    Sqlite(sqlite::DeadLetters),
    Postgres(postgres::DeadLetters),
}

impl DeadLetters {
    /// The next ones behind `after`, or the first, in the order of their positions; `limit` at
    /// most.
    pub async fn list(
        &self,
        after: Option<Position>,
        limit: u32,
    ) -> Result<Vec<Buried>, StoreError> {
        match self {
            Self::Sqlite(letters) => letters.list(after, limit),
            Self::Postgres(letters) => letters.list(after, limit).await,
        }
    }

    /// One with its payload, as it stood in the log.
    pub async fn one(&self, position: Position) -> Result<Option<DeadLetter>, StoreError> {
        match self {
            Self::Sqlite(letters) => letters.one(position),
            Self::Postgres(letters) => letters.one(position).await,
        }
    }

    /// Removes those that are in the log again. What is not there is passed over.
    pub async fn remove(&self, positions: &[Position]) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(letters) => letters.remove(positions),
            Self::Postgres(letters) => letters.remove(positions).await,
        }
    }
}

pub enum Store {
    Sqlite(sqlite::Store),
    Postgres(postgres::Store),
    #[cfg(test)]
    Scripted(crate::worker::tests::world::Store),
}

impl Store {
    /// Applies a batch in one transaction. A command that the store refuses is turned into poison
    /// in the batch, becomes a dead letter, and its neighbours are applied. A store that hands on
    /// through an outbox writes what comes out into it as well.
    pub async fn apply(&mut self, batch: &mut Batch) -> Result<Vec<Applied>, ApplyError> {
        match self {
            Self::Sqlite(store) => store.apply(batch),
            Self::Postgres(store) => store.apply(batch).await,
            #[cfg(test)]
            Self::Scripted(store) => store.apply(batch),
        }
    }

    /// How far each partition is applied, by partition. A store that lost its connection makes it
    /// anew here.
    pub async fn positions(&mut self) -> Result<Vec<Stored>, StoreError> {
        match self {
            Self::Sqlite(store) => store.positions(),
            Self::Postgres(store) => store.positions().await,
            #[cfg(test)]
            Self::Scripted(store) => store.positions(),
        }
    }

    /// What was applied to these partitions and is not known to be in the feed yet, oldest first.
    /// Nothing where there is no outbox.
    pub async fn unpublished(&mut self, partitions: &[u16]) -> Result<Vec<Applied>, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(Vec::new()),
            Self::Postgres(store) => store.unpublished(partitions).await,
            #[cfg(test)]
            Self::Scripted(store) => store.unpublished(partitions),
        }
    }

    /// The feed has these ranges: they leave the outbox, by the next transaction or `settle`.
    pub fn published(&mut self, ranges: &[Range]) {
        match self {
            Self::Sqlite(_) => {}
            Self::Postgres(store) => store.published(ranges),
            #[cfg(test)]
            Self::Scripted(store) => store.published(ranges),
        }
    }

    /// Work that need not hold up an acknowledgement; called after every batch.
    pub async fn settle(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.settle(),
            Self::Postgres(store) => store.settle().await,
            #[cfg(test)]
            Self::Scripted(store) => store.settle(),
        }
    }

    /// Drops keys and outcomes whose time is over. The work of a call is bounded; `true` says
    /// that there is more.
    pub async fn forget(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(store) => store.forget(now),
            Self::Postgres(store) => store.forget(now).await,
            #[cfg(test)]
            Self::Scripted(_) => Ok(false),
        }
    }

    #[must_use]
    pub fn reader(&self) -> Reader {
        match self {
            Self::Sqlite(store) => Reader::Sqlite(store.reader()),
            Self::Postgres(store) => Reader::Postgres(store.reader()),
            #[cfg(test)]
            Self::Scripted(_) => panic!("the worker does not read"),
        }
    }
}

/// Reads what is applied, beside the worker.
#[derive(Clone)]
pub enum Reader {
    Sqlite(sqlite::Reader),
    Postgres(postgres::Reader),
}

impl Reader {
    /// What became of a command.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn find(&self, position: Position) -> Result<Known, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.find(position).await,
            Self::Postgres(reader) => reader.find(position).await,
        }
    }

    /// Every living todo, oldest first, and the next offset to apply per partition, in one
    /// consistent read.
    pub async fn load(&self, sink: &mut (dyn FnMut(Todo) + Send)) -> Result<Vec<u64>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.load(sink).await,
            Self::Postgres(reader) => reader.load(sink).await,
        }
    }

    /// The next offset to apply per partition.
    pub async fn positions(&self) -> Result<Vec<u64>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.positions().await,
            Self::Postgres(reader) => reader.positions().await,
        }
    }
}
