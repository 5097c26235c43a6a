//! The next version of a list from this one and what changed: one pass, oldest to newest.
//!
//! Chapters and pages without a change are handed to the chunker whole, so a pass costs some
//! microseconds for each chapter and page that a change falls into, and next to nothing for the
//! rest.

use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::Arc;
use std::vec;

use foldhash::fast::RandomState;
use uuid::Uuid;

use super::chunk::Chunker;
use super::list::{Chapter, List};
use super::page::{Page, Piece, Written};
use crate::domain::{Applied, Key, Serialised, Timestamp};

/// What stands at a key from now on.
pub(super) struct Edit {
    key: Key,
    /// `None`: nothing.
    now: Option<Written>,
}

impl Edit {
    pub fn put(written: Written) -> Self {
        Self {
            key: written.key,
            now: Some(written),
        }
    }

    fn remove(key: Key) -> Self {
        Self { key, now: None }
    }
}

/// What became of one todo over some applied ranges together.
pub(super) struct Net<'a> {
    pub id: Uuid,
    pub was: Option<Timestamp>,
    pub now: Option<&'a Serialised>,
}

impl<'a> Net<'a> {
    /// One for each todo that was there before or is there now.
    pub fn of(applied: &'a [Applied]) -> Vec<Self> {
        let changes = applied.iter().map(|one| one.changes.len()).sum();
        let mut nets = HashMap::with_capacity_and_hasher(changes, RandomState::default());
        for change in applied.iter().flat_map(|one| &one.changes) {
            let (id, was) = (change.id, change.was);
            let net = nets.entry(id).or_insert(Self { id, was, now: None });
            net.now = change.now.as_ref();
        }
        let some = |net: &Self| net.was.is_some() || net.now.is_some();
        nets.into_values().filter(some).collect()
    }

    pub fn edits(&self) -> impl Iterator<Item = Edit> {
        let id = self.id;
        let now = self.now.map(|now| Written::new(id, now.clone()));
        let gone = self.was.map(|created_at| Key { created_at, id });
        let gone = gone.filter(|old| now.as_ref().is_none_or(|new| new.key != *old));
        gone.map(Edit::remove).into_iter().chain(now.map(Edit::put))
    }
}

/// `edits` come in any order, one for a key.
pub(super) fn renew(list: &List, mut edits: Vec<Edit>) -> List {
    edits.sort_unstable_by_key(|edit| edit.key);
    let mut pass = Pass {
        edits: edits.into_iter().peekable(),
        chunker: Chunker::default(),
    };
    let mut newer = list.chapters().iter().rev().skip(1);
    for chapter in list.chapters().iter().rev() {
        pass.chapter(chapter, newer.next().map(|next| next.oldest()));
    }
    pass.put_while(|_| true);
    pass.chunker.finish()
}

struct Pass {
    /// Those still to come, oldest first.
    edits: Peekable<vec::IntoIter<Edit>>,
    chunker: Chunker,
}

impl Pass {
    /// `next` is the oldest key of the next newer chapter. An edit up to and including it leaves
    /// open where that chapter's first page begins, so the chapter is gone through page by page.
    fn chapter(&mut self, chapter: &Arc<Chapter>, next: Option<Key>) {
        let beyond = |edit: &Edit| next.is_some_and(|next| edit.key > next);
        if self.edits.peek().is_none_or(beyond) {
            self.chunker.chapter(chapter);
        } else {
            chapter
                .pages()
                .iter()
                .rev()
                .for_each(|page| self.page(page));
        }
    }

    fn page(&mut self, page: &Arc<Page>) {
        self.put_while(|key| key < page.oldest());
        if self
            .edits
            .peek()
            .is_none_or(|edit| edit.key > page.newest())
        {
            return self.chunker.page(page);
        }
        for (at, key) in page.keys().iter().enumerate().rev() {
            self.put_while(|other| other < *key);
            match self.edits.next_if(|edit| edit.key == *key) {
                Some(edit) => self.put(edit),
                None => self.chunker.item(Piece::Copied {
                    page: Arc::clone(page),
                    at,
                }),
            }
        }
    }

    fn put_while(&mut self, matches: impl Fn(Key) -> bool) {
        while let Some(edit) = self.edits.next_if(|edit| matches(edit.key)) {
            self.put(edit);
        }
    }

    fn put(&mut self, edit: Edit) {
        if let Some(written) = edit.now {
            self.chunker.item(Piece::Written(written));
        }
    }
}
