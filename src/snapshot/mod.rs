//! What readers are served: an immutable version of the list, as bytes.
//!
//! # Reading order
//! 1. `page`: neighbouring items, serialised; `list`: all pages, searched by index and key.
//! 2. `chunk`: where pages begin, by content; `renew`: the next list from this one and what
//!    changed; `build`: the first one.
//! 3. [`Snapshot`], here: a list with positions, hints by id and encodings. Every list read is a
//!    [`Slice`] of it.
//! 4. `gzip` with `crc`, `coded`: the encodings; `body`: a slice in a coding as the chunks
//!    that are sent.
//! 5. `publish`: from which snapshot readers read; `encode`: the thread that makes encodings;
//!    [`refresh`]: the task that follows the feed.
//!
//! A snapshot is complete as identity when it is published, and as gzip where that is wanted and
//! little has changed; other encodings follow, each made once and never changed. Two servers with
//! the same todos serve the same bytes under the same tags.

mod body;
mod build;
mod chunk;
mod coded;
mod crc;
mod encode;
mod gzip;
mod hints;
mod list;
mod page;
mod publish;
pub mod refresh;
pub mod reload;
mod renew;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use uuid::Uuid;

pub use body::{Body, Chunk, Parts, body};
pub use build::Builder;
pub use encode::Encoder;
pub use publish::{Pin, Published, Reader};

use crate::domain::{Applied, Hash128, Key};
use coded::Coded;
use encode::Bell;
use gzip::Packed;
use hints::Hints;
use list::{List, Place, Spans};
use renew::{Edit, Net};

/// Items `from..to` of a snapshot's list, newest first. Invariant: `from <= to <= len` of the
/// snapshot that made it, and only that one is asked about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slice {
    pub from: usize,
    pub to: usize,
}

impl Slice {
    #[must_use]
    pub fn len(&self) -> usize {
        self.to - self.from
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }
}

/// How a body is coded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    Identity,
    Gzip,
    Brotli,
    Zstd,
}

/// One todo of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item<'a> {
    pub key: Key,
    /// What clients read.
    pub json: &'a [u8],
    /// Hash of the JSON: the todo's entity tag.
    pub tag: Hash128,
}

/// One version of the list.
pub struct Snapshot {
    list: List,
    positions: Box<[u64]>,
    /// Shared with the versions before and after.
    hints: Arc<Hints>,
    /// Ids that the version before had and this one hasn't: their hints go once this is published.
    departed: Vec<Uuid>,
    /// What stands deflated before each chapter, and in all; filled in order by the encoder.
    packed: Box<[OnceLock<Packed>]>,
    coded: Coded,
    /// Told when gzip is asked for; shared with the versions before and after.
    bell: Arc<Bell>,
}

impl Snapshot {
    fn new(list: List, positions: Box<[u64]>, hints: Arc<Hints>, departed: Vec<Uuid>) -> Self {
        let mut packed: Vec<_> = list.chapters().iter().map(|_| OnceLock::new()).collect();
        packed.insert(0, OnceLock::from(Packed::default()));
        Self {
            list,
            positions,
            hints,
            departed,
            packed: packed.into(),
            coded: Coded::default(),
            bell: Arc::default(),
        }
    }

    /// The next version. Pages in which nothing changed are shared.
    ///
    /// Each version must be renewed at most once, and published before it is renewed itself.
    #[must_use]
    pub fn renew(&self, applied: &[Applied]) -> Self {
        let nets = Net::of(applied);
        self.hints.put_nets(&nets);
        let edits: Vec<Edit> = nets.iter().flat_map(Net::edits).collect();
        let departed = nets.iter().filter(|net| net.now.is_none());
        let departed = departed.map(|net| net.id).collect();
        let mut positions = self.positions.clone();
        for one in applied {
            if let Some(position) = positions.get_mut(usize::from(one.range.partition)) {
                *position = one.range.to;
            }
        }
        let list = renew::renew(&self.list, edits);
        Self {
            bell: Arc::clone(&self.bell),
            ..Self::new(list, positions, Arc::clone(&self.hints), departed)
        }
    }

    /// Todos.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next offset of each partition: all before it is in this snapshot.
    #[must_use]
    pub fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// The newest `limit` todos, or all if there are fewer.
    #[must_use]
    pub fn first(&self, limit: usize) -> Slice {
        let to = self.len().min(limit);
        Slice { from: 0, to }
    }

    #[must_use]
    pub fn all(&self) -> Slice {
        self.first(usize::MAX)
    }

    /// The first `limit` todos that come after `key` in the list (older ones), whether or not
    /// there is a todo at `key`.
    #[must_use]
    pub fn after(&self, key: Key, limit: usize) -> Slice {
        let from = self.list.after(key);
        let to = self.len().min(from.saturating_add(limit));
        Slice { from, to }
    }

    /// The todo with this id. Of a todo that a later version, published by now, no longer has,
    /// it may say so already.
    #[must_use]
    pub fn find(&self, id: Uuid) -> Option<Item<'_>> {
        let [likely, other] = self.hints.keys(id)?;
        let place = self.list.find(likely).or_else(|| self.list.find(other))?;
        Some(self.item(place))
    }

    fn item(&self, place: Place) -> Item<'_> {
        let page = self.list.page(place);
        Item {
            key: page.keys()[place.item],
            json: page.json(place.item),
            tag: page.tag(place.item),
        }
    }

    /// The key of the last todo of a slice: what its next page comes after.
    #[must_use]
    pub fn last_key(&self, slice: &Slice) -> Option<Key> {
        let last = slice.to.checked_sub(1).filter(|last| *last >= slice.from)?;
        Some(self.item(self.list.place(last)).key)
    }

    /// Whether there are todos after the slice.
    #[must_use]
    pub fn has_more(&self, slice: &Slice) -> bool {
        slice.to < self.len()
    }

    /// The wrapping sum of the hashes of the slice's todos.
    #[must_use]
    pub fn tag(&self, slice: &Slice) -> Hash128 {
        let (from, to) = self.places(slice);
        let (from, to) = (self.list.sums(from).tag, self.list.sums(to).tag);
        Hash128(to.0.wrapping_sub(from.0))
    }

    /// Length of the slice's body; `None` while it isn't there in this coding. What was there
    /// once stays. Gzip is kept ready while somebody asks for it.
    #[must_use]
    pub fn body_bytes(&self, slice: &Slice, coding: Coding) -> Option<u64> {
        let (from, to) = self.places(slice);
        if coding == Coding::Gzip {
            self.bell.ask_gzip();
        }
        match coding {
            Coding::Identity => Some(self.identity_bytes(slice)),
            Coding::Gzip if from == to => Some((gzip::OPEN.len() + gzip::CLOSE_BYTES) as u64),
            Coding::Gzip => self.gzip().body_bytes(from, to),
            Coding::Brotli | Coding::Zstd => {
                let slot = self.coded_slot(slice, coding)?;
                Some(self.coded.bytes(slot).len() as u64)
            }
        }
    }

    /// Says that a slice was asked for in this coding. Brotli and zstd are made some time later,
    /// if the snapshot lives that long, and only of prefixes of moderate length.
    pub fn want(&self, slice: &Slice, coding: Coding) {
        if slice.from == 0 && self.identity_bytes(slice) <= coded::BODY_BYTES_MAX {
            self.coded.want(slice.to, coding);
        }
    }

    fn places(&self, slice: &Slice) -> (Place, Place) {
        (self.list.place(slice.from), self.list.place(slice.to))
    }

    fn spans(&self, slice: &Slice) -> Spans {
        let (from, to) = self.places(slice);
        Spans::new(from, to)
    }

    /// The brackets, and the text without its first comma.
    fn identity_bytes(&self, slice: &Slice) -> u64 {
        let (from, to) = self.places(slice);
        let text_bytes = self.list.sums(to).bytes - self.list.sums(from).bytes;
        if slice.is_empty() { 2 } else { text_bytes + 1 }
    }

    /// Whether every slice is there as gzip.
    fn has_gzip(&self) -> bool {
        self.packed.last().is_some_and(|all| all.get().is_some())
    }

    fn gzip(&self) -> gzip::Sums<'_> {
        gzip::Sums {
            list: &self.list,
            starts: &self.packed,
        }
    }

    /// The end of the slice's gzip body.
    fn gzip_close(&self, slice: &Slice) -> Option<[u8; gzip::CLOSE_BYTES]> {
        let (from, to) = self.places(slice);
        let crc = if from == to {
            crc32fast::hash(b"[]")
        } else {
            self.gzip().body_crc(from, to)?
        };
        Some(gzip::close(crc, self.identity_bytes(slice)))
    }

    fn coded_slot(&self, slice: &Slice, coding: Coding) -> Option<usize> {
        match slice.from {
            0 => self.coded.find(slice.to, coding),
            _ => None,
        }
    }

    /// Grants one wish; false if there is none.
    fn make_one_coded(&self) -> bool {
        self.coded.make_one(|items| self.prefix_json(items))
    }

    /// The JSON of the first `items` todos in one piece.
    fn prefix_json(&self, items: usize) -> Vec<u8> {
        let slice = self.first(items);
        let bytes = usize::try_from(self.identity_bytes(&slice)).expect("it is in memory");
        let mut json = Vec::with_capacity(bytes + 1);
        let mut spans = self.spans(&slice);
        while let Some(span) = spans.next(&self.list) {
            let page = self.list.page(span.at);
            json.extend_from_slice(&page.text()[page.text_range(span.at.item..span.to)]);
        }
        match json.first_mut() {
            Some(comma) => *comma = b'[',
            None => json.push(b'['),
        }
        json.push(b']');
        json
    }
}
