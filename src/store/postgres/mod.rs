//! The store of a fleet: PostgreSQL.

use std::str::FromStr;

use super::{ApplyError, Known, OpenError, StoreError};
use crate::domain::{Applied, Batch, DeadLetter, Position, Range, Stored, Timestamp, Todo};

/// Where the database is and who asks, as in `DATABASE_URL`. Never prints the password.
#[derive(Clone, Debug)]
pub struct Address;

/// Why a text is no address. Names what is wrong with it and never holds the password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(String);

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(_: &str) -> Result<Self, BadAddress> {
        Err(BadAddress("not in this version".to_owned()))
    }
}

/// What a store and a reader are opened with.
#[derive(Clone, Debug)]
pub struct Options {
    pub address: Address,
    pub store: super::Options,
    /// Connections of a reader, at most.
    pub pool_size: u32,
}

/// The versions of the schema before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    pub from: i64,
    pub to: i64,
}

/// Brings the schema up to date.
pub async fn migrate(_: &Address) -> Result<Migrated, OpenError> {
    unimplemented!()
}

/// What stands in the list of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buried {
    pub position: Position,
    pub user: String,
    pub reason: String,
    pub appended_at: Timestamp,
}

/// Reads the dead letters, for operators.
pub struct DeadLetters;

impl DeadLetters {
    pub async fn open(_: &Address) -> Result<Self, OpenError> {
        unimplemented!()
    }

    /// The next ones behind `after`, in the order of their positions, `limit` at most.
    pub async fn list(&self, _: Option<Position>, _: u32) -> Result<Vec<Buried>, StoreError> {
        unimplemented!()
    }

    pub async fn one(&self, _: Position) -> Result<Option<DeadLetter>, StoreError> {
        unimplemented!()
    }
}

pub struct Store;

impl Store {
    /// Opens the database for a worker. Its connection lives on the runtime that calls.
    pub async fn open(_: Options) -> Result<Self, OpenError> {
        unimplemented!()
    }

    pub(super) async fn apply(&mut self, _batch: &mut Batch) -> Result<Vec<Applied>, ApplyError> {
        unimplemented!()
    }

    pub(super) async fn positions(&mut self) -> Result<Vec<Stored>, StoreError> {
        unimplemented!()
    }

    pub(super) async fn unpublished(&mut self, _: &[u16]) -> Result<Vec<Applied>, StoreError> {
        unimplemented!()
    }

    pub(super) fn published(&mut self, _ranges: &[Range]) {
        unimplemented!()
    }

    pub(super) async fn settle(&mut self) -> Result<(), StoreError> {
        unimplemented!()
    }

    #[must_use]
    pub fn reader(&self) -> Reader {
        unimplemented!()
    }

    pub(super) async fn forget(&mut self, _now: Timestamp) -> Result<bool, StoreError> {
        unimplemented!()
    }
}

#[derive(Clone)]
pub struct Reader;

impl Reader {
    /// Opens the database for a server. Its connections live on a thread of their own.
    pub async fn open(_: Options) -> Result<Self, OpenError> {
        unimplemented!()
    }

    pub(super) async fn find(&self, _position: Position) -> Result<Known, StoreError> {
        unimplemented!()
    }

    pub(super) async fn load(
        &self,
        _sink: &mut (dyn FnMut(Todo) + Send),
    ) -> Result<Vec<u64>, StoreError> {
        unimplemented!()
    }

    pub(super) async fn positions(&self) -> Result<Vec<u64>, StoreError> {
        unimplemented!()
    }
}
