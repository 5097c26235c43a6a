//! When Redis is taken for away: one core's opinion.
//!
//! The first failure opens it. What waits is decided without Redis at once, and from then on nobody
//! waits: so no request waits for longer than the call under way and its own, a deadline each.
//! Small calls are made meanwhile, and the first that succeeds closes it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{info, warn};

use super::Server;
use super::script::Failed;
use crate::clock::Stopwatch;

pub(super) struct Breaker {
    server: Arc<Server>,
    /// Since when it is open.
    open: Cell<Option<Stopwatch>>,
}

impl Breaker {
    pub fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            open: Cell::new(None),
        }
    }

    pub fn is_open(&self) -> bool {
        self.open.get().is_some()
    }

    pub fn failed(&self, why: &Failed) {
        if !self.is_open() {
            self.open.set(Some(Stopwatch::start()));
            self.server.away.fetch_add(1, Ordering::Relaxed);
            warn!(%why, policy = ?self.server.options.on_failure, "Redis is away: limits are decided here");
        }
    }

    pub fn succeeded(&self) {
        if let Some(watch) = self.open.take() {
            self.server.away.fetch_sub(1, Ordering::Relaxed);
            info!(after = ?watch.elapsed(), "Redis is back: limits are the fleet's again");
        }
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if self.is_open() {
            self.server.away.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
