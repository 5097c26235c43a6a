//! The only reader of time. Everything else gets a [`Clock`] or a time.

use std::time::{SystemTime, UNIX_EPOCH};

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
