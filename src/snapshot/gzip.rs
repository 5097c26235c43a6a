//! Gzip of any stretch of the list, put together from pages that were deflated once.
//!
//! Each page's text is deflated by itself, so that it means the same wherever it stands, and
//! flushed to a byte boundary every [`GROUP_ITEMS`] items, so that a body can end after any group.
//! A body is one gzip member (browsers ignore what comes after the first):
//!
//! ```text
//! header, stored "["
//! page deflated │ page deflated │ …       whole pages, end to end
//!               │ page up to a group's end, the items left over as stored blocks
//! last stored block "]", CRC-32, length
//! ```
//!
//! The comma before a page's first item is a stored block of its own (the *lead*), left out where
//! the page is the first of the body. A body that begins inside a page (after a cursor) begins
//! with stored items: what is deflated there refers back to what isn't sent.
//!
//! Lengths and CRCs are differences of sums that the encoder leaves behind: per group in the page,
//! per page in the chapter, per chapter in the snapshot. A body's CRC costs some ten
//! multiplications and a look at fewer than twice [`GROUP_ITEMS`] items, however long it is.
//!
//! The bytes depend on the todos alone: zlib-rs chooses its instructions by processor, but not
//! its matches.

use std::iter;
use std::ops::Range;

use flate2::{Compress, Compression, FlushCompress};

use super::crc;
use super::list::{Chapter, List, Place};
use super::page::Page;

/// Items between flushes. A flush costs some 90 bytes (a new block and its code), an item left
/// over about 180 (stored, not deflated). With todos of 237 bytes, in pages of 64 on average,
/// these are the bytes of the first 1, 10, 100, 1,000 and all of 10,000:
///
/// | items | 1   | 10    | 100    | 1,000  | all     |
/// |-------|-----|-------|--------|--------|---------|
/// | 2     | 272 | 936   | 7,335  | 69,893 | 696,628 |
/// | 4     | 272 | 1,164 | 6,575  | 61,160 | 607,551 |
/// | 8     | 272 | 1,164 | 6,552  | 56,752 | 560,223 |
/// | 16    | 272 | 2,298 | 6,911  | 55,026 | 536,803 |
/// | pages | 272 | 2,298 | 13,733 | 63,862 | 524,052 |
///
/// Full flushes, which would let bodies begin at a group, cost 40 % (795,342 with 8).
const GROUP_ITEMS: usize = 8;
/// Level 9 saves nothing on pages this short and takes half as long again.
const LEVEL: u32 = 6;

/// Of a stored block (RFC 1951, 3.2.4).
const STORED_HEADER_BYTES: usize = 5;
/// A stored block of one comma.
const LEAD: [u8; 6] = [0, 1, 0, 0xfe, 0xff, b','];
/// A gzip header without time and name, of an unknown system (RFC 1952), and a stored `[`.
pub(super) const OPEN: [u8; 16] = [
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 0, 1, 0, 0xfe, 0xff, b'[',
];
/// A last stored block `]`, CRC-32 and length.
pub(super) const CLOSE_BYTES: usize = 14;

/// A page, deflated.
pub(super) struct Deflated {
    pub bytes: Box<[u8]>,
    /// How far `bytes` and the CRC of the text are after no group, after the first, and so on.
    groups: Box<[Packed]>,
}

/// Some text from the start of something, deflated. The sums of pages, chapters and the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    pub bytes: u64,
    /// Of the text that was deflated.
    pub crc: u32,
}

impl Packed {
    fn then(self, next: Self, text_bytes: u64) -> Self {
        Self {
            bytes: self.bytes + next.bytes,
            crc: crc::join(self.crc, next.crc, text_bytes),
        }
    }
}

impl Deflated {
    pub fn packed(&self) -> Packed {
        self.groups[self.groups.len() - 1]
    }

    /// Whole groups among the first `items` of the page: what is deflated, and how many items.
    fn groups_in(&self, page: &Page, items: usize) -> (Packed, usize) {
        if items == page.len() {
            return (self.packed(), items);
        }
        let groups = items / GROUP_ITEMS;
        (self.groups[groups], groups * GROUP_ITEMS)
    }

    /// The CRC of the first `items` items' text.
    fn crc(&self, page: &Page, items: usize) -> u32 {
        let (packed, covered) = self.groups_in(page, items);
        let rest = &page.text()[page.text_range(covered..items)];
        crc::join(packed.crc, crc32fast::hash(rest), rest.len() as u64)
    }
}

/// Deflates pages. Its 300 kB of tables are used again for each.
pub(super) struct Deflater(Compress);

impl Deflater {
    pub fn new() -> Self {
        Self(Compress::new(Compression::new(LEVEL), false))
    }

    pub fn page(&mut self, page: &Page) -> Deflated {
        self.0.reset();
        let mut bytes = Vec::with_capacity(page.text().len() / 2);
        bytes.extend_from_slice(&LEAD);
        let mut groups = vec![Packed::default()];
        let mut crc = crc32fast::Hasher::new();
        for from in (0..page.len()).step_by(GROUP_ITEMS) {
            let to = page.len().min(from + GROUP_ITEMS);
            let text = &page.text()[page.text_range(from..to)];
            crc.update(text);
            self.flush(&text[usize::from(from == 0)..], &mut bytes);
            groups.push(Packed {
                bytes: bytes.len() as u64,
                crc: crc.clone().finalize(),
            });
        }
        Deflated {
            bytes: bytes.into(),
            groups: groups.into(),
        }
    }

    fn flush(&mut self, mut text: &[u8], out: &mut Vec<u8>) {
        loop {
            out.reserve(text.len() / 2 + 64);
            let before = self.0.total_in();
            self.0
                .compress_vec(text, out, FlushCompress::Sync)
                .expect("deflating into memory does not fail");
            let taken = usize::try_from(self.0.total_in() - before).expect("no more than given");
            text = &text[taken..];
            // With room left, there is nothing left to write.
            if out.len() < out.capacity() {
                return;
            }
        }
    }
}

/// The sums of a chapter's pages, once all of them are deflated.
pub(super) fn pack(chapter: &Chapter) -> Option<Box<[Packed]>> {
    let mut packed = Packed::default();
    let mut sums = vec![packed];
    for page in chapter.pages() {
        let next = page.deflated.get()?.packed();
        packed = packed.then(next, page.text().len() as u64);
        sums.push(packed);
    }
    Some(sums.into())
}

/// `before` and the chapter after it; `None` until it is packed.
pub(super) fn after(before: Packed, chapter: &Chapter) -> Option<Packed> {
    let sums = chapter.packed.get()?;
    Some(before.then(sums[sums.len() - 1], chapter.sums().bytes))
}

/// How some items of one page are sent.
pub(super) struct Cover {
    /// Of the page's deflated bytes.
    pub deflated: Range<usize>,
    /// Of the page's text: what isn't covered by groups.
    pub stored: Range<usize>,
}

impl Cover {
    /// Of the items `from..to`; `first` says that `[` stands in place of the first comma.
    pub fn new(page: &Page, items: Range<usize>, first: bool) -> Option<Self> {
        let deflated = page.deflated.get()?;
        let (end, covered) = match items.start {
            0 => deflated.groups_in(page, items.end),
            from => (Packed::default(), from),
        };
        let mut cover = Self {
            deflated: 0..usize::try_from(end.bytes).ok()?,
            stored: page.text_range(covered..items.end),
        };
        match (first, cover.deflated.is_empty()) {
            (true, true) => cover.stored.start += 1,
            (true, false) => cover.deflated.start = LEAD.len(),
            (false, _) => {}
        }
        Some(cover)
    }

    fn bytes(&self) -> u64 {
        let header = match self.stored.len() {
            0 => 0,
            _ => STORED_HEADER_BYTES,
        };
        (self.deflated.len() + header + self.stored.len()) as u64
    }
}

/// What goes before stored text. One block is always enough: a page with more text than a block
/// holds has a single item, and is sent whole or not at all.
pub(super) fn stored_header(text_bytes: usize) -> [u8; STORED_HEADER_BYTES] {
    let len = u16::try_from(text_bytes).expect("part of a page fits a stored block");
    let ([a, b], [c, d]) = (len.to_le_bytes(), (!len).to_le_bytes());
    [0, a, b, c, d]
}

/// The sums of a list: `starts[n]` is what stands before chapter `n`, as far as it is known.
pub(super) struct Sums<'a> {
    pub list: &'a List,
    pub starts: &'a [std::sync::OnceLock<Packed>],
}

impl Sums<'_> {
    /// Length of the body from `from` to `to`, two different places; `None` until it can be made.
    pub fn body_bytes(&self, from: Place, to: Place) -> Option<u64> {
        let end = self.page_start(to)?;
        let first = self.list.page(from);
        let frame = (OPEN.len() + CLOSE_BYTES) as u64;
        if from.same_page(to) {
            return Some(frame + Cover::new(first, from.item..to.item, true)?.bytes());
        }
        let head = Cover::new(first, from.item..first.len(), true)?.bytes();
        let next = Place {
            page: from.page + 1,
            item: 0,
            ..from
        };
        let whole = end.bytes - self.page_start(next)?.bytes;
        let tail = match to.item {
            0 => 0,
            items => Cover::new(self.list.page(to), 0..items, false)?.bytes(),
        };
        Some(frame + head + whole + tail)
    }

    /// The CRC of the body from `from` to `to`, two different places.
    pub fn body_crc(&self, from: Place, to: Place) -> Option<u32> {
        let text_bytes = self.list.sums(to).bytes - self.list.sums(from).bytes;
        let text = crc::join(self.text_crc(from)?, self.text_crc(to)?, text_bytes);
        // Of texts of equal length, CRCs differ by that of their difference.
        let swap = crc32fast::hash(b",") ^ crc32fast::hash(b"[");
        let opened = text ^ crc::shift(swap, text_bytes - 1);
        Some(crc::join(opened, crc32fast::hash(b"]"), 1))
    }

    /// The CRC of the list's text up to `place`.
    fn text_crc(&self, place: Place) -> Option<u32> {
        let start = self.page_start(place)?.crc;
        if place.item == 0 {
            return Some(start);
        }
        let page = self.list.page(place);
        let crc = page.deflated.get()?.crc(page, place.item);
        Some(crc::join(start, crc, page.sums(place.item).bytes))
    }

    /// All that stands before the page of `place`, which may be one past the chapter's last.
    fn page_start(&self, place: Place) -> Option<Packed> {
        let start = *self.starts[place.chapter].get()?;
        let Some(chapter) = self.list.chapters().get(place.chapter) else {
            return Some(start);
        };
        if (place.page, place.item) == (0, 0) {
            return Some(start);
        }
        let packed = chapter.packed.get()?[place.page];
        Some(start.then(packed, chapter.start(place.page).bytes))
    }
}

/// The end of a body: `]`, the CRC of all and its length modulo 2^32.
pub(super) fn close(crc: u32, body_bytes: u64) -> [u8; CLOSE_BYTES] {
    let mut close = [1, 1, 0, 0xfe, 0xff, b']', 0, 0, 0, 0, 0, 0, 0, 0];
    let trailer = iter::chain(crc.to_le_bytes(), body_bytes.to_le_bytes());
    let fields = close[6..].iter_mut().zip(trailer);
    fields.for_each(|(field, byte)| *field = byte);
    close
}
