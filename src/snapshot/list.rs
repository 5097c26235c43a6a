//! The list: all pages, found by index or by key in two binary searches.
//!
//! Pages stand in chapters, so that the next version of a list of a million todos shares some
//! hundred chapters with this one and re-makes the few that were touched, instead of counting up
//! 16,000 references. Pages are the same on every server that holds the same todos; chapters are
//! not and needn't be, since nothing that is sent depends on them.

use std::sync::{Arc, OnceLock};

use super::gzip::Packed;
use super::page::{Page, Sums};
use crate::domain::Key;

/// Invariant: never empty.
pub(super) struct Chapter {
    /// Newest first.
    pages: Box<[Arc<Page>]>,
    /// Before each page, and at the end.
    starts: Box<[Sums]>,
    /// The oldest key of each page: searches read these and not the pages.
    oldest: Box<[Key]>,
    /// The deflated pages before each page, and all of them. Made by the encoder once every page
    /// is deflated.
    pub packed: OnceLock<Box<[Packed]>>,
}

impl Chapter {
    /// `pages` are newest first.
    pub fn new(pages: Box<[Arc<Page>]>) -> Self {
        Self {
            starts: Sums::prefix(pages.iter().map(|page| page.sums(page.len()))),
            oldest: pages.iter().map(|page| page.oldest()).collect(),
            pages,
            packed: OnceLock::new(),
        }
    }

    pub fn pages(&self) -> &[Arc<Page>] {
        &self.pages
    }

    /// Sums of what stands before page number `page`.
    pub fn start(&self, page: usize) -> Sums {
        self.starts[page]
    }

    pub fn sums(&self) -> Sums {
        self.starts[self.pages.len()]
    }

    pub fn oldest(&self) -> Key {
        self.oldest[self.pages.len() - 1]
    }
}

/// Before which item something is. At the end of a page it is at the start of the next one; at
/// the end of the list it is at the start of the chapter that would come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub chapter: usize,
    pub page: usize,
    pub item: usize,
}

impl Place {
    pub fn same_page(self, other: Self) -> bool {
        (self.chapter, self.page) == (other.chapter, other.page)
    }
}

pub(super) struct List {
    /// Newest first.
    chapters: Box<[Arc<Chapter>]>,
    /// Before each chapter, and at the end.
    starts: Box<[Sums]>,
}

impl List {
    /// `chapters` are newest first.
    pub fn new(chapters: Box<[Arc<Chapter>]>) -> Self {
        Self {
            starts: Sums::prefix(chapters.iter().map(|chapter| chapter.sums())),
            chapters,
        }
    }

    pub fn len(&self) -> usize {
        self.starts[self.chapters.len()].items
    }

    pub fn chapters(&self) -> &[Arc<Chapter>] {
        &self.chapters
    }

    pub fn page(&self, place: Place) -> &Page {
        &self.chapters[place.chapter].pages[place.page]
    }

    /// Where item number `index` is; past the last one is the end.
    pub fn place(&self, index: usize) -> Place {
        let chapter = before(&self.starts, index);
        let Some(found) = self.chapters.get(chapter) else {
            return Place {
                chapter,
                page: 0,
                item: 0,
            };
        };
        let index = index - self.starts[chapter].items;
        let page = before(&found.starts, index);
        Place {
            chapter,
            page,
            item: index - found.starts[page].items,
        }
    }

    /// Sums of all items before `place`.
    pub fn sums(&self, place: Place) -> Sums {
        let start = self.starts[place.chapter];
        match self.chapters.get(place.chapter) {
            None => start,
            Some(chapter) => {
                start + chapter.starts[place.page] + chapter.pages[place.page].sums(place.item)
            }
        }
    }

    /// The place of the item with this key.
    pub fn find(&self, key: Key) -> Option<Place> {
        let chapter = self.chapters.partition_point(|one| one.oldest() > key);
        let found = self.chapters.get(chapter)?;
        let page = found.oldest.partition_point(|oldest| *oldest > key);
        let keys = found.pages[page].keys();
        let item = keys.binary_search_by(|other| key.cmp(other)).ok()?;
        Some(Place {
            chapter,
            page,
            item,
        })
    }

    /// The index of the first item that comes after `key`, whether or not `key` is there.
    pub fn after(&self, key: Key) -> usize {
        let chapter = self.chapters.partition_point(|one| one.oldest() >= key);
        let Some(found) = self.chapters.get(chapter) else {
            return self.len();
        };
        let page = found.oldest.partition_point(|oldest| *oldest >= key);
        let items = found.pages[page].keys();
        let items = items.partition_point(|other| *other >= key);
        self.starts[chapter].items + found.starts[page].items + items
    }
}

/// The part that holds item number `index`: the last one that starts at or before it.
fn before(starts: &[Sums], index: usize) -> usize {
    starts.partition_point(|start| start.items <= index) - 1
}

/// The pages a stretch of the list touches, in order, in constant space.
#[derive(Clone, Copy)]
pub(super) struct Spans {
    at: Place,
    to: Place,
}

/// Items `at.item..to` of one page. Never empty.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub at: Place,
    pub to: usize,
}

impl Spans {
    pub fn new(at: Place, to: Place) -> Self {
        Self { at, to }
    }

    /// `list` must be the one the places are of.
    pub fn next(&mut self, list: &List) -> Option<Span> {
        if self.at == self.to {
            return None;
        }
        let at = self.at;
        if at.same_page(self.to) {
            self.at = self.to;
            let to = self.to.item;
            return Some(Span { at, to });
        }
        let pages = &list.chapters[at.chapter].pages;
        let ends = at.page + 1 == pages.len();
        self.at = Place {
            chapter: at.chapter + usize::from(ends),
            page: if ends { 0 } else { at.page + 1 },
            item: 0,
        };
        let to = pages[at.page].len();
        Some(Span { at, to })
    }
}
