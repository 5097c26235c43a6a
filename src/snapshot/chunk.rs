//! Where pages begin: a function of the todos alone, however the list came to hold them.
//!
//! From oldest to newest, an item begins a page
//! - when a hash of its id begins with six zero bits: a *boundary*, so pages have 64 items on average,
//! - or when the page before it is full.
//!
//! The second rule starts anew at each boundary, so what a change moves ends at the next boundary
//! at the latest, and usually at the page's own end. It is there for ids chosen to avoid
//! boundaries (those of keyed creates can be): pages stay small, though a change at the old end of
//! such a run re-makes all of it.
//!
//! The chunker takes what stays unchanged in whole pages and chapters. A page taken whole stays
//! open as it is: only when an item follows that doesn't begin a page is it taken apart.

use std::mem;
use std::sync::Arc;

use super::list::{Chapter, List};
use super::page::{Page, Piece};

/// Items of a page, at most; the next one begins a page. Four times the average, so it is reached
/// by one run in fifty.
pub(super) const PAGE_ITEMS_MAX: usize = 256;
/// Bytes of a page's text, at most, unless a single item is longer (none that the domain lets in
/// is: 62 kB with every character escaped). What one stored block of deflate holds: gzip relies
/// on it.
pub(super) const PAGE_BYTES_MAX: usize = u16::MAX as usize;

/// Pages of a chapter, at most. A change re-makes a chapter, a list has as many chapters as it
/// has pages in 128 to 256: both stay in the low microseconds up to millions of todos.
/// (Tests have small ones, for lists with many.)
pub(super) const CHAPTER_PAGES_MAX: usize = if cfg!(test) { 8 } else { 256 };
/// Pages of a chapter, at least, except for the newest. One that falls below is joined with the
/// next.
pub(super) const CHAPTER_PAGES_MIN: usize = CHAPTER_PAGES_MAX / 4;

/// Takes items, pages and chapters from oldest to newest and makes a list of them.
#[derive(Default)]
pub(super) struct Chunker {
    open: Open,
    binder: Binder,
}

/// The page that the next item may still join.
#[derive(Default)]
enum Open {
    #[default]
    Nothing,
    Whole(Arc<Page>),
    Pieces {
        pieces: Vec<Piece>,
        bytes: usize,
    },
}

impl Chunker {
    pub fn item(&mut self, piece: Piece) {
        if self.begins_page(piece.text_bytes(), piece.is_boundary()) {
            self.close();
        }
        let (pieces, bytes) = self.open.pieces();
        *bytes += piece.text_bytes();
        pieces.push(piece);
    }

    /// A page in which nothing changed.
    pub fn page(&mut self, page: &Arc<Page>) {
        if self.begins_with(page) {
            self.close();
            self.open = Open::Whole(Arc::clone(page));
        } else {
            pieces_of(page).for_each(|piece| self.item(piece));
        }
    }

    /// A chapter in which nothing changed. The item that comes next, if any, must be the one that
    /// came next before: its page begins where it began.
    pub fn chapter(&mut self, chapter: &Arc<Chapter>) {
        let pages = chapter.pages();
        if self.begins_with(&pages[pages.len() - 1]) {
            self.close();
            self.binder.chapter(chapter);
        } else {
            pages.iter().rev().for_each(|page| self.page(page));
        }
    }

    pub fn finish(mut self) -> List {
        self.close();
        self.binder.finish()
    }

    /// Whether a page begins with the oldest item of `page`.
    fn begins_with(&self, page: &Page) -> bool {
        let last = page.len() - 1;
        let text_bytes = page.text_range(last..page.len()).len();
        self.begins_page(text_bytes, page.is_at_boundary())
    }

    fn begins_page(&self, text_bytes: usize, is_boundary: bool) -> bool {
        let (items, bytes) = match &self.open {
            Open::Nothing => return true,
            Open::Whole(page) => (page.len(), page.text().len()),
            Open::Pieces { pieces, bytes } => (pieces.len(), *bytes),
        };
        is_boundary || items >= PAGE_ITEMS_MAX || bytes + text_bytes > PAGE_BYTES_MAX
    }

    fn close(&mut self) {
        match mem::take(&mut self.open) {
            Open::Nothing => {}
            Open::Whole(page) => self.binder.page(page),
            Open::Pieces { pieces, .. } => self.binder.page(Arc::new(Page::new(&pieces))),
        }
    }
}

impl Open {
    /// The open page taken apart.
    fn pieces(&mut self) -> (&mut Vec<Piece>, &mut usize) {
        let (pieces, bytes) = match mem::take(self) {
            Open::Nothing => (Vec::new(), 0),
            Open::Whole(page) => (pieces_of(&page).collect(), page.text().len()),
            Open::Pieces { pieces, bytes } => (pieces, bytes),
        };
        *self = Open::Pieces { pieces, bytes };
        let Open::Pieces { pieces, bytes } = self else {
            unreachable!("it was just set");
        };
        (pieces, bytes)
    }
}

fn pieces_of(page: &Arc<Page>) -> impl Iterator<Item = Piece> {
    let piece = |at| Piece::Copied {
        page: Arc::clone(page),
        at,
    };
    (0..page.len()).rev().map(piece)
}

/// Binds pages to chapters.
#[derive(Default)]
struct Binder {
    /// Oldest first.
    chapters: Vec<Arc<Chapter>>,
    /// Pages of no chapter yet, oldest first. Invariant: at most `CHAPTER_PAGES_MAX`.
    loose: Vec<Arc<Page>>,
}

impl Binder {
    fn page(&mut self, page: Arc<Page>) {
        if self.loose.len() == CHAPTER_PAGES_MAX {
            self.bind(CHAPTER_PAGES_MAX / 2);
        }
        self.loose.push(page);
    }

    fn chapter(&mut self, chapter: &Arc<Chapter>) {
        let loose = self.loose.len();
        if (1..CHAPTER_PAGES_MIN).contains(&loose) {
            let pages = chapter.pages().iter().rev();
            pages.for_each(|page| self.page(Arc::clone(page)));
        } else {
            self.bind(loose);
            self.chapters.push(Arc::clone(chapter));
        }
    }

    /// Makes a chapter of the oldest loose pages.
    fn bind(&mut self, pages: usize) {
        if pages > 0 {
            let pages = self.loose.drain(..pages).rev().collect();
            self.chapters.push(Arc::new(Chapter::new(pages)));
        }
    }

    fn finish(mut self) -> List {
        self.bind(self.loose.len());
        self.chapters.reverse();
        List::new(self.chapters.into())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::Serialised;
    use crate::snapshot::page::Written;
    use crate::snapshot::tests::{boundary_free_ids, todo};

    fn chunk(ids: &[Uuid], description: &str) -> List {
        let mut chunker = Chunker::default();
        for (second, id) in (0..).zip(ids) {
            let mut todo = todo(*id, second);
            description.clone_into(&mut todo.description);
            chunker.item(Piece::Written(Written::new(*id, Serialised::of(&todo))));
        }
        chunker.finish()
    }

    fn pages(list: &List) -> Vec<&Arc<Page>> {
        let chapters = list.chapters().iter();
        chapters.flat_map(|chapter| chapter.pages()).collect()
    }

    #[test]
    fn a_run_without_boundaries_is_cut_at_the_cap() {
        let list = chunk(&boundary_free_ids(3 * PAGE_ITEMS_MAX + 1), "");
        let lens: Vec<usize> = pages(&list).iter().map(|page| page.len()).collect();
        assert_eq!(lens, [1, PAGE_ITEMS_MAX, PAGE_ITEMS_MAX, PAGE_ITEMS_MAX]);
    }

    #[test]
    fn pages_of_long_items_are_cut_by_their_bytes() {
        let list = chunk(&boundary_free_ids(100), &"x".repeat(10_000));
        for page in pages(&list) {
            assert!(page.text().len() <= PAGE_BYTES_MAX);
        }
        assert_eq!(pages(&list).len(), 17);
    }

    #[test]
    fn an_item_longer_than_a_page_has_a_page_of_its_own() {
        let list = chunk(&boundary_free_ids(3), &"x".repeat(70_000));
        assert_eq!(pages(&list).len(), 3);
    }

    #[test]
    fn boundaries_make_pages_of_64_items_on_average() {
        let ids: Vec<Uuid> = (0..20_000).map(Uuid::from_u128).collect();
        let list = chunk(&ids, "");
        let pages = pages(&list).len();
        assert!((20_000 / 80..20_000 / 50).contains(&pages), "{pages}");
    }
}
