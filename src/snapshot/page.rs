//! A page: some neighbouring items of the list as the bytes that are served.
//!
//! ```text
//! text    ,{"id":"…8"},{"id":"…7"},{"id":"…6"}          newest first, a comma before each item
//! starts  ^0          ^12         ^24         ^36
//! ```
//!
//! With the comma in front, the texts of all pages one after another are the text of the list,
//! and a body is a piece of it: its first comma replaced by `[`, with `]` behind. Lengths, tags
//! and CRCs of bodies then are differences of prefix sums over that text.

use std::ops::{Add, Range};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use uuid::Uuid;

use super::gzip::Deflated;
use crate::domain::{Hash128, Key, Serialised};

/// Items `0..n` of something, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub items: usize,
    /// Of the text, commas included.
    pub bytes: u64,
    /// Wrapping sum of the items' hashes.
    pub tag: Hash128,
}

impl Add for Sums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            items: self.items + other.items,
            bytes: self.bytes + other.bytes,
            tag: Hash128(self.tag.0.wrapping_add(other.tag.0)),
        }
    }
}

impl Sums {
    /// The sums before each part and, last, after all of them.
    pub fn prefix(parts: impl Iterator<Item = Self>) -> Box<[Self]> {
        let mut sum = Self::default();
        let mut sums = vec![sum];
        for part in parts {
            sum = sum + part;
            sums.push(sum);
        }
        sums.into()
    }
}

/// Invariant: never empty; immutable but for `deflated`, which is made once.
pub(super) struct Page {
    /// Newest first, as everything here.
    keys: Box<[Key]>,
    /// Where in the text each item's comma stands, and the end of the text.
    starts: Box<[u32]>,
    /// Sums of the hashes of the items before each item, and of all.
    tags: Box<[Hash128]>,
    text: Box<[u8]>,
    /// Whether the oldest item is a boundary; no other is.
    boundary: bool,
    /// Made by the encoder some time after the page.
    pub deflated: OnceLock<Deflated>,
}

impl Page {
    /// `pieces` are in the order of the chunker: oldest first.
    pub fn new(pieces: &[Piece]) -> Self {
        let bytes = pieces.iter().map(Piece::text_bytes).sum();
        let mut text = Vec::with_capacity(bytes);
        let mut starts = Vec::with_capacity(pieces.len() + 1);
        let mut tags = Vec::with_capacity(pieces.len() + 1);
        let mut tag = Hash128::default();
        for piece in pieces.iter().rev() {
            starts.push(offset(text.len()));
            tags.push(tag);
            text.push(b',');
            text.extend_from_slice(piece.json());
            tag = Hash128(tag.0.wrapping_add(piece.tag().0));
        }
        starts.push(offset(text.len()));
        tags.push(tag);
        Self {
            keys: pieces.iter().rev().map(Piece::key).collect(),
            starts: starts.into(),
            tags: tags.into(),
            text: text.into(),
            boundary: pieces[0].is_boundary(),
            deflated: OnceLock::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub fn newest(&self) -> Key {
        self.keys[0]
    }

    pub fn oldest(&self) -> Key {
        self.keys[self.len() - 1]
    }

    pub fn text(&self) -> &[u8] {
        &self.text
    }

    pub fn is_at_boundary(&self) -> bool {
        self.boundary
    }

    /// Where the text of some items lies, from the comma of the first.
    pub fn text_range(&self, items: Range<usize>) -> Range<usize> {
        self.starts[items.start] as usize..self.starts[items.end] as usize
    }

    pub fn json(&self, at: usize) -> &[u8] {
        let Range { start, end } = self.text_range(at..at + 1);
        &self.text[start + 1..end]
    }

    pub fn tag(&self, at: usize) -> Hash128 {
        Hash128(self.tags[at + 1].0.wrapping_sub(self.tags[at].0))
    }

    /// Sums of the first `items` items.
    pub fn sums(&self, items: usize) -> Sums {
        Sums {
            items,
            bytes: u64::from(self.starts[items]),
            tag: self.tags[items],
        }
    }
}

/// The chunker closes a page long before 4 GiB, and no single item comes near.
fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("a page is shorter than 4 GiB")
}

/// An id whose hash begins with so many zero bits is a boundary (see [`super::chunk`]): one in 64.
/// With todos of 230 bytes a page then is about 15 kB: deflated in 0.1 ms, copied in some
/// microseconds. By the end of the same hash a fleet's log tells partitions, and todos that come
/// together have one partition.
const BOUNDARY_ZEROS: u32 = 6;

pub(super) fn is_boundary(id: Uuid) -> bool {
    Hash128::of(id.as_bytes()).0.leading_zeros() >= BOUNDARY_ZEROS
}

/// An item on its way into a page.
pub(super) enum Piece {
    /// One that stands in an older page: copied when the new page is made.
    Copied {
        page: Arc<Page>,
        at: usize,
    },
    Written(Written),
}

/// A todo that was written.
pub(super) struct Written {
    pub key: Key,
    pub json: Bytes,
    pub tag: Hash128,
    pub boundary: bool,
}

impl Written {
    pub fn new(id: Uuid, todo: Serialised) -> Self {
        let Serialised {
            created_at,
            json,
            tag,
        } = todo;
        Self {
            key: Key { created_at, id },
            json,
            tag,
            boundary: is_boundary(id),
        }
    }
}

impl Piece {
    pub fn key(&self) -> Key {
        match self {
            Piece::Copied { page, at } => page.keys[*at],
            Piece::Written(written) => written.key,
        }
    }

    pub fn is_boundary(&self) -> bool {
        match self {
            Piece::Copied { page, at } => page.boundary && at + 1 == page.len(),
            Piece::Written(written) => written.boundary,
        }
    }

    pub fn json(&self) -> &[u8] {
        match self {
            Piece::Copied { page, at } => page.json(*at),
            Piece::Written(written) => &written.json,
        }
    }

    pub fn tag(&self) -> Hash128 {
        match self {
            Piece::Copied { page, at } => page.tag(*at),
            Piece::Written(written) => written.tag,
        }
    }

    /// Length in the text, with its comma.
    pub fn text_bytes(&self) -> usize {
        1 + self.json().len()
    }
}
