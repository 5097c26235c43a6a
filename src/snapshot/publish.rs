//! From which snapshot readers read, and how the old ones go.
//!
//! A core keeps the snapshot it read last; a read loads one pointer, which is in the core's cache
//! until someone publishes, and compares it. Reference counts are written only when it changed.
//! A core may so keep an old snapshot until its next read; whoever owns a reader lets it look from
//! time to time, so that an idle core doesn't hold on to a version for hours.
//!
//! Old snapshots are kept here until no core has them, so that the last reference, and with it
//! the work of freeing, is never a serving core's.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Cache};

use super::Snapshot;
use super::encode::Bell;

/// The current snapshot and those that are still being read.
pub struct Published {
    current: Arc<ArcSwap<Snapshot>>,
    retired: Mutex<Vec<Arc<Snapshot>>>,
    /// Snapshots published so far.
    version: AtomicU64,
    /// Rung for the encoder when there is something to make, or never will be again.
    pub(super) bell: Arc<Bell>,
}

impl Published {
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Arc<Self> {
        Arc::new(Self {
            bell: Arc::clone(&snapshot.bell),
            current: Arc::new(ArcSwap::from_pointee(snapshot)),
            retired: Mutex::default(),
            version: AtomicU64::new(1),
        })
    }

    /// Makes `snapshot` what is read from now on. Frees old ones that nobody reads any more.
    pub fn publish(&self, mut snapshot: Snapshot) {
        let departed = std::mem::take(&mut snapshot.departed);
        // One that was loaded anew has another.
        snapshot.bell = Arc::clone(&self.bell);
        let new = Arc::new(snapshot);
        let old = self.current.swap(Arc::clone(&new));
        for id in departed {
            new.hints.remove(id);
        }
        self.version.fetch_add(1, Ordering::Relaxed);
        if !new.has_gzip() && self.bell.wants_gzip() {
            self.bell.ring();
        }
        self.lock_retired().push(old);
        self.sweep();
    }

    /// The current snapshot, for the refresher and the encoder. Cores use a [`Reader`].
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Counts what was published.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn reader(self: &Arc<Self>) -> Reader {
        let mut cache = Cache::new(Arc::clone(&self.current));
        let pin = Pin::new(Arc::clone(cache.load()));
        Reader { cache, pin }
    }

    /// Frees old snapshots that nobody reads any more. A count of one can't rise: readers take
    /// references from the current snapshot only.
    pub(super) fn sweep(&self) {
        self.lock_retired().retain(|old| Arc::strong_count(old) > 1);
    }

    fn lock_retired(&self) -> MutexGuard<'_, Vec<Arc<Snapshot>>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.bell.stop();
    }
}

/// A core's view of what is published.
pub struct Reader {
    cache: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    pin: Pin,
}

impl Reader {
    /// The current snapshot. No lock and, unless it changed, no write to shared memory.
    pub fn current(&mut self) -> Pin {
        let current = self.cache.load();
        if !Arc::ptr_eq(current, &self.pin.0) {
            self.pin = Pin::new(Arc::clone(current));
        }
        self.pin.clone()
    }
}

/// A snapshot held by a core. Its clones are counted by the core alone.
#[derive(Clone)]
#[expect(
    clippy::redundant_allocation,
    reason = "the inner count is shared between cores, the outer is not"
)]
pub struct Pin(Rc<Arc<Snapshot>>);

impl Pin {
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self(Rc::new(snapshot))
    }

    /// Whether both hold the same version.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Pin {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}
