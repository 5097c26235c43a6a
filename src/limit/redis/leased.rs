//! How long a lease lives, and what a core knows of its own.

use std::cell::Cell;
use std::time::Duration;

use tracing::warn;

use super::HEARTBEAT;
use crate::clock::Stopwatch;

/// Time that a lease lives without a call, at least: within it a dead server's slots are free again.
const LIFE_MIN: Duration = Duration::from_secs(3);
/// Calls in a row that may get lost, each after its deadline, and the lease is kept.
const LOST_MAX: u32 = 2;

/// Time that a lease lives without a call, where calls have this deadline.
pub(super) fn life(deadline: Duration) -> Duration {
    LIFE_MIN.max(HEARTBEAT + (LOST_MAX + 1) * deadline)
}

/// The lease as Redis told of it last.
#[derive(Default)]
pub(super) struct Leased(Cell<Option<Known>>);

#[derive(Clone, Copy)]
struct Known {
    epoch: i64,
    /// Since when it has that epoch.
    since: Stopwatch,
    /// Whether Redis keeps it: one without slots is gone at once, unless it stays.
    is_kept: bool,
}

impl Leased {
    /// Whether Redis has heard of it.
    pub fn is_known(&self) -> bool {
        self.0.get().is_some()
    }

    /// Redis has answered a call that said how many slots are in use. Returns the time since when
    /// the lease has been the same.
    pub fn learn(&self, epoch: i64, in_use: u32, stays: bool) -> Duration {
        let known = self.0.get();
        let same = known.filter(|lease| lease.epoch == epoch);
        let since = same.map_or_else(Stopwatch::start, |lease| lease.since);
        self.0.set(Some(Known {
            epoch,
            since,
            is_kept: in_use > 0 || stays,
        }));
        let was_kept = known.is_some_and(|lease| lease.is_kept);
        if was_kept && same.is_none() && in_use > 0 {
            warn!(
                in_use,
                "the lease of in-flight slots was lost and is claimed anew"
            );
        }
        since.elapsed()
    }
}
