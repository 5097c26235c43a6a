//! Waiting for a condition, with a deadline. The only sleep of the harness.

use std::thread;
use std::time::{Duration, Instant};

/// How long to pause between two looks: short against every deadline used.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until there is something to see.
///
/// # Panics
/// When `within` has passed without: `what` is in the message.
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(PAUSE);
    }
}

/// Between two requests of a load that need not be all there is.
pub fn pause() {
    thread::sleep(PAUSE);
}

/// Where what is waited for is time itself: how long a process stays stopped, or how long something
/// must not happen.
pub fn passes(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        pause();
    }
}
