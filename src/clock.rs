//! The only reader of time. Everything else gets a [`Clock`], a [`Stopwatch`] or a time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use uuid::{NoContext, Uuid};

use crate::domain::Timestamp;

/// Where a part takes the time from: [`now`], or in tests a function of their own.
pub type Clock = fn() -> Timestamp;

/// The system's time, cut to microseconds. A clock set before 1970 reads as 1970.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A new `UUIDv7` of that time (RFC 9562, 5.7). Times before 1970 count as 1970.
#[must_use]
pub fn uuid_v7(at: Timestamp) -> Uuid {
    let micros = u64::try_from(at.as_micros()).unwrap_or(0);
    let nanos = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(
        NoContext,
        micros / 1_000_000,
        nanos,
    ))
}

/// Keeps the core busy for so long: a cost that the bench has to see.
#[cfg(feature = "spin")]
pub fn spin(time: Duration) {
    let watch = Stopwatch::start();
    while watch.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Measures how long something takes. Stands still with the clock of a test that pauses tokio's.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
