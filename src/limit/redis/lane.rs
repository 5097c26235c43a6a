//! A task that sends calls, and how it is told that there is something to send.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// One call in flight at most. It looks at what waits before it idles, so it is only told when it
/// does.
#[derive(Default)]
pub(super) struct Lane {
    wake: Notify,
    is_idle: Cell<bool>,
}

impl Lane {
    pub fn is_idle(&self) -> bool {
        self.is_idle.get()
    }

    /// Tells an idle lane that there is something; a busy one will see for itself.
    pub fn nudge(&self) {
        if self.is_idle.replace(false) {
            self.wake.notify_one();
        }
    }

    /// It is busy, whatever it waited for.
    pub fn rouse(&self) {
        self.is_idle.set(false);
    }

    /// Waits until it is told, at most for `limit`.
    pub async fn idle(&self, limit: Duration) {
        self.is_idle.set(true);
        // Having waited for so long is a reason to look, too.
        drop(timeout(limit, self.wake.notified()).await);
        self.is_idle.set(false);
    }
}
