//! The port to the store: where commands take effect, exactly once, and are on record after.
//!
//! The worker owns the [`Store`]. Requests look up what became of a command through
//! [`Outcomes`], which never waits for the worker.

#[cfg(test)]
mod contract;
pub mod sqlite;

use std::time::Duration;

use crate::domain::{Applied, Batch, Position, Recorded, Timestamp, Todo};

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
    #[error("cannot open the database: {0}")]
    Failed(String),
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

pub enum Store {
    Sqlite(sqlite::Store),
}

#[expect(clippy::unused_async, reason = "other stores wait for a network here")]
impl Store {
    /// Applies a batch in one transaction. A command that the store refuses becomes a dead letter
    /// and its neighbours are applied.
    pub async fn apply(&mut self, batch: Batch) -> Result<Vec<Applied>, ApplyError> {
        match self {
            Self::Sqlite(store) => store.apply(batch),
        }
    }

    /// Every living todo, in no order, and the next offset to apply per partition, in one
    /// consistent read.
    pub async fn load(
        &mut self,
        sink: &mut (dyn FnMut(Todo) + Send),
    ) -> Result<Vec<u64>, StoreError> {
        match self {
            Self::Sqlite(store) => store.load(sink),
        }
    }

    /// Work that need not hold up an acknowledgement; called after every batch.
    pub async fn settle(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.settle(),
        }
    }

    /// Drops keys and outcomes whose time is over. The work of a call is bounded; `true` says
    /// that there is more.
    pub async fn forget(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(store) => store.forget(now),
        }
    }

    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        match self {
            Self::Sqlite(store) => Outcomes::Sqlite(store.outcomes()),
        }
    }
}

/// Looks up what became of commands.
#[derive(Clone)]
pub enum Outcomes {
    Sqlite(sqlite::Outcomes),
}

impl Outcomes {
    pub async fn find(&self, position: Position) -> Result<Known, StoreError> {
        match self {
            Self::Sqlite(outcomes) => outcomes.find(position).await,
        }
    }
}
