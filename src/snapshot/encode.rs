//! The thread that makes encodings, so that no serving core does.
//!
//! Gzip is kept ready while somebody wants it, and for a while after: until then no page is
//! deflated for nobody. Of a version with few new pages the refresher makes it before publishing
//! ([`ahead`]), so that who asks for gzip gets it however often the list changes. What that leaves
//! is this thread's, of the newest snapshot, from its newest page on: prefixes are what is read
//! most, and each is there as soon as its chapters are. A snapshot published meanwhile takes
//! precedence; what was made of the old one's pages stays with those that the new one shares.
//! When all is deflated and nothing was published for a while, wishes for brotli and zstd are
//! granted.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::gzip::{self, Deflater};
use super::{Published, Snapshot};
use crate::clock::Stopwatch;

/// How long a snapshot must have been the current one before brotli and zstd are made of it, and
/// how often wishes are looked for then. Made for one that is replaced sooner, they are in vain.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// How long gzip is kept ready after somebody asked for it, at least.
const WANTED_FOR: Duration = Duration::from_mins(1);
/// How long a version may wait to be published for its gzip: some 20 pages. One in which more
/// changed is published without.
const AHEAD_MAX: Duration = Duration::from_millis(2);

/// The encoder's thread. Dropping it stops the thread and waits for it: at most for one body to
/// be coded, 0.1 s.
pub struct Encoder {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Encoder {
    /// Starts the thread. It ends by itself when `published` is dropped.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn spawn(published: &Arc<Published>) -> io::Result<Self> {
        Self::spawn_with(published, SETTLED_AFTER)
    }

    pub(super) fn spawn_with(published: &Arc<Published>, settled: Duration) -> io::Result<Self> {
        let bell = Arc::clone(&published.bell);
        let weak = Arc::downgrade(published);
        let rung = Arc::clone(&bell);
        let thread = thread::Builder::new()
            .name("encoder".to_owned())
            .spawn(move || run(&weak, &rung, settled))?;
        Ok(Self {
            bell,
            thread: Some(thread),
        })
    }

    /// Stops the thread and waits for it.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.bell.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the encoder panicked");
        }
    }
}

fn run(published: &Weak<Published>, bell: &Bell, settled: Duration) {
    let mut deflater = Deflater::new();
    let mut seen = None;
    let mut is_new = false;
    loop {
        let rung = bell.wait(settled);
        let (Some(published), Rung::Work | Rung::Nothing) = (published.upgrade(), &rung) else {
            return;
        };
        let (version, snapshot) = (published.version(), published.snapshot());
        is_new |= bell.loaded.swap(false, Ordering::Relaxed);
        if is_new || bell.wants_gzip() {
            deflate(&snapshot, &mut deflater, || bell.is_rung());
            is_new &= !snapshot.has_gzip();
        }
        if matches!(rung, Rung::Nothing) {
            published.sweep();
            drop(published);
            let is_settled = seen.replace(version) == Some(version);
            while is_settled && !bell.is_rung() && snapshot.make_one_coded() {}
        }
    }
}

/// Makes what gzip of a version lacks that is about to be published, if it is wanted and as far as
/// there is time.
pub(super) fn ahead(snapshot: &Snapshot, bell: &Bell, deflater: &mut Deflater) {
    if bell.wants_gzip() {
        let watch = Stopwatch::start();
        deflate(snapshot, deflater, || watch.elapsed() > AHEAD_MAX);
    }
}

/// Makes what gzip of the snapshot lacks, newest first, until `is_late`.
pub(super) fn deflate(snapshot: &Snapshot, deflater: &mut Deflater, is_late: impl Fn() -> bool) {
    for (number, chapter) in snapshot.list.chapters().iter().enumerate() {
        if chapter.packed.get().is_none() {
            for page in chapter.pages() {
                if page.deflated.get().is_none() {
                    if is_late() {
                        return;
                    }
                    page.deflated.get_or_init(|| deflater.page(page));
                }
            }
            if let Some(sums) = gzip::pack(chapter) {
                chapter.packed.get_or_init(|| sums);
            }
        }
        let [before, after] = [number, number + 1].map(|at| &snapshot.packed[at]);
        let sums = before.get().and_then(|start| gzip::after(*start, chapter));
        if let Some(sums) = sums {
            after.get_or_init(|| sums);
        }
    }
}

/// What wakes the encoder, and what readers ask of it.
#[derive(Default)]
pub(super) struct Bell {
    /// Somebody asked for gzip since that was last looked at. Read by serving cores; written once
    /// in half of [`WANTED_FOR`].
    asked: AtomicBool,
    /// All todos were loaded: who comes first shall find gzip.
    loaded: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Since the last [`Bell::wait`]; at first there is a snapshot to begin with.
    rung: bool,
    stop: bool,
    /// When somebody asked for gzip, if anybody ever did.
    wanted: Option<Stopwatch>,
    /// Gzip is not wanted, or not any more.
    rests: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            rung: true,
            stop: false,
            wanted: None,
            rests: true,
        }
    }
}

enum Rung {
    Work,
    Nothing,
    Stop,
}

impl Bell {
    pub fn ring(&self) {
        self.lock().rung = true;
        self.changed.notify_one();
    }

    pub fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_one();
    }

    /// Rings for a list that was loaded whole.
    pub fn ring_loaded(&self) {
        self.loaded.store(true, Ordering::Relaxed);
        self.ring();
    }

    /// Says that somebody asks for gzip.
    pub fn ask_gzip(&self) {
        if self.asked.load(Ordering::Relaxed) {
            return;
        }
        self.asked.store(true, Ordering::Relaxed);
        let mut state = self.lock();
        if state.rests {
            state.rests = false;
            state.wanted = Some(Stopwatch::start());
            state.rung = true;
            self.changed.notify_one();
        }
    }

    /// Whether somebody asked for gzip of late.
    pub fn wants_gzip(&self) -> bool {
        let mut state = self.lock();
        let older_than = |limit| state.wanted.is_none_or(|wanted| wanted.elapsed() > limit);
        if older_than(WANTED_FOR / 2) && self.asked.swap(false, Ordering::Relaxed) {
            state.wanted = Some(Stopwatch::start());
            return true;
        }
        state.rests = older_than(WANTED_FOR);
        !state.rests
    }

    fn is_rung(&self) -> bool {
        let state = self.lock();
        state.rung || state.stop
    }

    /// Waits until rung, for `at_most` that long.
    fn wait(&self, at_most: Duration) -> Rung {
        let quiet = |state: &mut State| !state.rung && !state.stop;
        let waited = self.changed.wait_timeout_while(self.lock(), at_most, quiet);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match (state.stop, std::mem::take(&mut state.rung)) {
            (true, _) => Rung::Stop,
            (false, true) => Rung::Work,
            (false, false) => Rung::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::Marks;
    use crate::snapshot::tests::todo;
    use crate::snapshot::{Builder, reload};
    use uuid::Uuid;

    #[test]
    fn what_is_loaded_is_deflated_before_anybody_asks() {
        let published = Published::new(Builder::new().build(vec![0]));
        let encoder = Encoder::spawn(&published).unwrap();
        let mut builder = Builder::new();
        builder.push(&todo(Uuid::from_u128(1), 1));
        reload::show(builder.build(vec![1]), &published, &Marks::new(&[0], 10));
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !published.snapshot().has_gzip() {
            assert!(std::time::Instant::now() < deadline);
            thread::yield_now();
        }
        encoder.stop();
    }

    #[tokio::test(start_paused = true)]
    async fn gzip_is_wanted_for_a_while_after_it_was_asked_for() {
        let second = Duration::from_secs(1);
        let bell = Bell::default();
        assert!(matches!(bell.wait(Duration::ZERO), Rung::Work));
        assert!(!bell.wants_gzip());
        bell.ask_gzip();
        assert!(matches!(bell.wait(Duration::ZERO), Rung::Work));
        tokio::time::advance(WANTED_FOR / 2 + second).await;
        assert!(bell.wants_gzip());
        tokio::time::advance(WANTED_FOR).await;
        assert!(bell.wants_gzip());
        tokio::time::advance(second).await;
        assert!(!bell.wants_gzip());
        assert!(matches!(bell.wait(Duration::ZERO), Rung::Nothing));
        bell.ask_gzip();
        assert!(matches!(bell.wait(Duration::ZERO), Rung::Work));
        assert!(bell.wants_gzip());
    }
}
