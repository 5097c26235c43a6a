//! The thread that makes encodings, so that no serving core does.
//!
//! Gzip first, of the newest snapshot, from its newest page on: prefixes are what is read most,
//! and each is there as soon as its chapters are. A snapshot published meanwhile takes
//! precedence; what was made of the old one's pages stays with those that the new one shares.
//! When all is deflated and nothing was published for a while, wishes for brotli and zstd are
//! granted.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::gzip::{self, Deflater};
use super::{Published, Snapshot};

/// How long a snapshot must have been the current one before brotli and zstd are made of it, and
/// how often wishes are looked for then. Made for one that is replaced sooner, they are in vain.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

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
    loop {
        match bell.wait(settled) {
            Rung::Published => {
                let Some(snapshot) = published.upgrade().map(|one| one.snapshot()) else {
                    return;
                };
                deflate(&snapshot, &mut deflater, || bell.is_rung());
            }
            Rung::Nothing => {
                let Some(published) = published.upgrade() else {
                    return;
                };
                published.sweep();
                let snapshot = published.snapshot();
                while !bell.is_rung() && snapshot.make_one_coded() {}
            }
            Rung::Stop => return,
        }
    }
}

/// Makes what gzip of the snapshot lacks, newest first, until `is_late`.
pub(super) fn deflate(snapshot: &Snapshot, deflater: &mut Deflater, is_late: impl Fn() -> bool) {
    for (number, chapter) in snapshot.list.chapters().iter().enumerate() {
        for page in chapter.pages() {
            if page.deflated.get().is_none() {
                if is_late() {
                    return;
                }
                page.deflated.get_or_init(|| deflater.page(page));
            }
        }
        let [before, after] = [number, number + 1].map(|at| &snapshot.packed[at]);
        if chapter.packed.get().is_none()
            && let Some(sums) = gzip::pack(chapter)
        {
            chapter.packed.get_or_init(|| sums);
        }
        let sums = before.get().and_then(|start| gzip::after(*start, chapter));
        if let Some(sums) = sums {
            after.get_or_init(|| sums);
        }
    }
}

/// What wakes the encoder.
#[derive(Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Since the last [`Bell::wait`]; at first there is a snapshot to begin with.
    published: bool,
    stop: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            published: true,
            stop: false,
        }
    }
}

enum Rung {
    Published,
    Nothing,
    Stop,
}

impl Bell {
    pub fn ring(&self) {
        self.lock().published = true;
        self.changed.notify_one();
    }

    pub fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_one();
    }

    fn is_rung(&self) -> bool {
        let state = self.lock();
        state.published || state.stop
    }

    /// Waits until rung, for `at_most` that long.
    fn wait(&self, at_most: Duration) -> Rung {
        let quiet = |state: &mut State| !state.published && !state.stop;
        let waited = self.changed.wait_timeout_while(self.lock(), at_most, quiet);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match (state.stop, std::mem::take(&mut state.published)) {
            (true, _) => Rung::Stop,
            (false, true) => Rung::Published,
            (false, false) => Rung::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
