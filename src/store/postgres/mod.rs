//! The store of a fleet: PostgreSQL.

use super::{ApplyError, Known, StoreError};
use crate::domain::{Applied, Batch, Position, Range, Stored, Timestamp, Todo};

pub struct Store;

impl Store {
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
