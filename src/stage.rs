//! How far the process is on its way from starting to stopped.
//!
//! A stage is only ever left for a later one. Requests look at it with one atomic load; who has to
//! act on a change waits for it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

/// The stages in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum At {
    Starting,
    Serving,
    /// Readiness fails, so that no new client is sent here; all else goes on.
    Leaving,
    /// Every answer closes its connection, waits end, listeners close.
    Draining,
    /// The grace is over: what is still open is cut off.
    Over,
}

/// A shared view of the stage; clones are the same one.
#[derive(Clone)]
pub struct Stage(Arc<Inner>);

struct Inner {
    at: AtomicU8,
    /// What the process is at while it starts.
    starting: Mutex<&'static str>,
    changed: watch::Sender<()>,
    /// Why the process cannot go on.
    fault: OnceLock<String>,
}

impl Default for Stage {
    fn default() -> Self {
        let at = AtomicU8::new(At::Starting as u8);
        Self(Arc::new(Inner {
            at,
            starting: Mutex::new("the process is starting"),
            changed: watch::Sender::new(()),
            fault: OnceLock::new(),
        }))
    }
}

impl Stage {
    /// Goes on to a later stage; an earlier one is passed over.
    pub fn advance(&self, to: At) {
        self.0.at.fetch_max(to as u8, Ordering::Relaxed);
        self.0.changed.send_replace(());
    }

    /// Says what a process that starts waits for, or is at: a sentence fit for clients.
    pub fn starts(&self, with: &'static str) {
        *self.lock_starting() = with;
    }

    /// Notes that the process cannot go on: readiness fails from here on, and who waits for
    /// [`Stage::fault`] brings it to its end. The first reason stays.
    pub fn fail(&self, why: String) {
        // A second fault follows from the first.
        drop(self.0.fault.set(why));
        self.0.changed.send_replace(());
    }

    /// Whether requests should be sent here, and if not, why.
    ///
    /// # Errors
    /// The reason, fit for clients.
    pub fn ready(&self) -> Result<(), &'static str> {
        if self.0.fault.get().is_some() {
            return Err("the process has failed and is about to stop");
        }
        if self.has_reached(At::Leaving) {
            return Err("the process is about to stop");
        }
        if self.has_reached(At::Serving) {
            Ok(())
        } else {
            Err(*self.lock_starting())
        }
    }

    /// Whether there is nothing to serve yet.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        !self.has_reached(At::Serving)
    }

    /// Waits until there is something to serve, or never will be. Cancel safe.
    pub async fn started(&self) {
        self.until(|stage| (!stage.is_starting()).then_some(()))
            .await;
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.has_reached(At::Draining)
    }

    fn has_reached(&self, at: At) -> bool {
        self.0.at.load(Ordering::Relaxed) >= at as u8
    }

    /// Waits for [`At::Draining`]. Cancel safe.
    pub async fn draining(&self) {
        self.until(|stage| stage.is_draining().then_some(())).await;
    }

    /// Waits for [`At::Over`]. Cancel safe.
    pub async fn over(&self) {
        self.until(|stage| stage.has_reached(At::Over).then_some(()))
            .await;
    }

    /// Waits until the process cannot go on, and says why. Cancel safe.
    pub async fn fault(&self) -> String {
        self.until(|stage| stage.0.fault.get().cloned()).await
    }

    /// A sentence is replaced by another whole one, whoever panicked.
    fn lock_starting(&self) -> MutexGuard<'_, &'static str> {
        self.0
            .starting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn until<T>(&self, holds: impl Fn(&Self) -> Option<T>) -> T {
        let mut changed = self.0.changed.subscribe();
        loop {
            if let Some(value) = holds(self) {
                return value;
            }
            // The sender lives in `self`: this cannot fail.
            changed
                .changed()
                .await
                .expect("the stage outlives who waits for it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stage_is_only_left_for_a_later_one() {
        let stage = Stage::default();
        stage.starts("it waits for the tide");
        assert_eq!(stage.ready(), Err("it waits for the tide"));
        stage.advance(At::Serving);
        stage.started().await;
        assert!(stage.ready().is_ok());
        stage.advance(At::Draining);
        stage.advance(At::Serving);
        assert!(stage.is_draining());
        stage.draining().await;
    }

    #[tokio::test]
    async fn a_fault_fails_readiness_and_wakes_who_waits() {
        let stage = Stage::default();
        stage.advance(At::Serving);
        let waiting = stage.clone();
        let (why, ()) = tokio::join!(waiting.fault(), async { stage.fail("disk".into()) });
        assert_eq!(why, "disk");
        assert!(stage.ready().is_err());
    }
}
