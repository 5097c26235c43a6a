//! The first snapshot, from all todos.

use super::Snapshot;
use super::chunk::Chunker;
use super::hints::Hints;
use super::page::{Piece, Written};
use super::renew::{Edit, renew};
use crate::domain::{Key, Serialised, Todo};

/// Takes every living todo once, in any order, and makes a snapshot of them.
///
/// Todos that come oldest first (by `created_at`, then `id`) go into their pages at once. Others
/// wait until the end and take their memory twice.
#[derive(Default)]
pub struct Builder {
    chunker: Chunker,
    newest: Option<Key>,
    /// Those that came after a newer one.
    late: Vec<Edit>,
    hints: Hints,
}

impl Builder {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, todo: &Todo) {
        let written = Written::new(todo.id, Serialised::of(todo));
        let key = written.key;
        self.hints.put(key);
        if self.newest.is_none_or(|newest| key > newest) {
            self.newest = Some(key);
            self.chunker.item(Piece::Written(written));
        } else {
            self.late.push(Edit::put(written));
        }
    }

    /// `positions` are the next offsets to apply, by partition.
    #[must_use]
    pub fn build(self, positions: Vec<u64>) -> Snapshot {
        let list = renew(&self.chunker.finish(), self.late);
        Snapshot::new(list, positions.into(), self.hints.into(), Vec::new())
    }
}
