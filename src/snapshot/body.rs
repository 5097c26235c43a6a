//! A slice in a coding, as the chunks that go to the socket.
//!
//! Chunks of long bodies borrow the pages: what they hold is the pin, whose count belongs to the
//! core, so that cores never write to one another's cache lines for a read. A body is made as it
//! is sent, in constant space.

use std::mem;
use std::ops::Range;

use bytes::{Buf, Bytes};

use super::gzip::{self, Cover};
use super::list::{Place, Spans};
use super::page::Page;
use super::{Coding, Pin, Slice};

/// A body this short, or the last of a longer one, is one owned chunk. Copying 16 KiB takes a
/// microsecond, about what a few more entries of a vectored write cost.
const COPY_BYTES_MAX: u64 = 16 << 10;

/// The body of `slice` in `coding`; `None` while [`super::Snapshot::body_bytes`] is.
#[must_use]
pub fn body(pin: &Pin, slice: Slice, coding: Coding) -> Option<Body> {
    let remaining = pin.body_bytes(&slice, coding)?;
    let (step, close) = match coding {
        Coding::Identity => (Step::Open, Small::of(b"]")),
        Coding::Gzip => (Step::Open, Small::of(&pin.gzip_close(&slice)?)),
        Coding::Brotli | Coding::Zstd => {
            (Step::Coded(pin.coded_slot(&slice, coding)?), Small::of(&[]))
        }
    };
    let spans = pin.spans(&slice);
    let parts = Parts {
        pin: pin.clone(),
        gzip: coding == Coding::Gzip,
        first: true,
        spans,
        step,
        close,
    };
    Some(Body { parts, remaining })
}

/// What is left of a body: an iterator over its chunks. Not `Send`: it belongs to the core whose
/// pin it holds.
pub struct Body {
    parts: Parts,
    remaining: u64,
}

impl Body {
    /// Bytes that the chunks not yet taken have together.
    #[must_use]
    pub fn remaining_bytes(&self) -> u64 {
        self.remaining
    }

    /// What is left as it lies: no part is copied, and so they may be many and small.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        self.parts
    }

    /// Appends all that is left to `out`, for callers that have a buffer of their own.
    pub fn copy_to(self, out: &mut Vec<u8>) {
        self.parts
            .for_each(|part| out.extend_from_slice(part.chunk()));
    }
}

impl Iterator for Body {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let chunk = if (1..=COPY_BYTES_MAX).contains(&self.remaining) {
            let mut copy = Vec::with_capacity(usize::try_from(self.remaining).unwrap_or(0));
            self.parts
                .by_ref()
                .for_each(|part| copy.extend_from_slice(part.chunk()));
            Chunk::from(Bytes::from(copy))
        } else {
            self.parts.next()?
        };
        self.remaining -= chunk.remaining() as u64;
        Some(chunk)
    }
}

/// Bytes to send, never none. Holds what it borrows from.
pub struct Chunk {
    source: Source,
    /// What is left to send.
    range: Range<usize>,
}

enum Source {
    Small(Small),
    /// Copied or from elsewhere.
    Owned(Bytes),
    Text(Pin, Place),
    Deflated(Pin, Place),
    /// A slot of [`super::coded::Coded`].
    Coded(Pin, usize),
}

impl Chunk {
    fn new(range: Range<usize>, source: Source) -> Self {
        Self { source, range }
    }

    fn small(small: Small) -> Self {
        Self::new(0..small.len, Source::Small(small))
    }
}

/// Invariant of the caller: not empty.
impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self::new(0..bytes.len(), Source::Owned(bytes))
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.range.len()
    }

    fn chunk(&self) -> &[u8] {
        let bytes: &[u8] = match &self.source {
            Source::Small(small) => &small.bytes,
            Source::Owned(bytes) => bytes,
            Source::Text(pin, place) => pin.list.page(*place).text(),
            Source::Deflated(pin, place) => deflated(pin.list.page(*place)),
            Source::Coded(pin, slot) => pin.coded.bytes(*slot),
        };
        &bytes[self.range.clone()]
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.range.len(), "advanced past the chunk's end");
        self.range.start += count;
    }
}

fn deflated(page: &Page) -> &[u8] {
    page.deflated.get().map_or(&[], |deflated| &deflated.bytes)
}

/// Brackets and headers.
#[derive(Clone, Copy)]
struct Small {
    bytes: [u8; 16],
    len: usize,
}

impl Small {
    fn of(short: &[u8]) -> Self {
        let mut bytes = [0; 16];
        bytes[..short.len()].copy_from_slice(short);
        let len = short.len();
        Self { bytes, len }
    }
}

/// The body as it lies: no part is copied, nothing is allocated.
pub struct Parts {
    pin: Pin,
    gzip: bool,
    /// The first page is still to come: its comma is left out, `[` was sent.
    first: bool,
    spans: Spans,
    step: Step,
    close: Small,
}

/// What comes next.
enum Step {
    Open,
    Page,
    /// The header of a stored block of a page's text, if there is any.
    Stored(Place, Range<usize>),
    /// What is in the block.
    Text(Place, Range<usize>),
    Coded(usize),
    Done,
}

impl Iterator for Parts {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        loop {
            match mem::replace(&mut self.step, Step::Page) {
                Step::Open if self.gzip => return Some(Chunk::small(Small::of(&gzip::OPEN))),
                Step::Open => return Some(Chunk::small(Small::of(b"["))),
                Step::Page => {
                    if let Some(chunk) = self.page() {
                        return Some(chunk);
                    }
                }
                Step::Stored(_, text) if text.is_empty() => {}
                Step::Stored(place, text) => {
                    let header = gzip::stored_header(text.len());
                    self.step = Step::Text(place, text);
                    return Some(Chunk::small(Small::of(&header)));
                }
                Step::Text(place, text) => {
                    return Some(Chunk::new(text, Source::Text(self.pin.clone(), place)));
                }
                Step::Coded(slot) => {
                    self.step = Step::Done;
                    let range = 0..self.pin.coded.bytes(slot).len();
                    return Some(Chunk::new(range, Source::Coded(self.pin.clone(), slot)));
                }
                Step::Done => {
                    self.step = Step::Done;
                    return None;
                }
            }
        }
    }
}

impl Parts {
    /// Goes on to the next page, or to the end. `None` where nothing of the page is deflated.
    fn page(&mut self) -> Option<Chunk> {
        let Some(span) = self.spans.next(&self.pin.list) else {
            self.step = Step::Done;
            return Some(Chunk::small(self.close));
        };
        let page = self.pin.list.page(span.at);
        let items = span.at.item..span.to;
        let first = mem::take(&mut self.first);
        if !self.gzip {
            let mut text = page.text_range(items);
            text.start += usize::from(first);
            return Some(Chunk::new(text, Source::Text(self.pin.clone(), span.at)));
        }
        let cover = Cover::new(page, items, first).expect("the body has a length: it is deflated");
        self.step = Step::Stored(span.at, cover.stored);
        let deflated = Source::Deflated(self.pin.clone(), span.at);
        (!cover.deflated.is_empty()).then(|| Chunk::new(cover.deflated, deflated))
    }
}
