//! Waiting until what a tool has written is applied.

use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use crate::clock::Stopwatch;
use crate::domain::Position;
use crate::store::Reader;

/// Between two looks at how far it is.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Time in which some of it is applied, or no worker runs.
const STILL_MAX: Duration = Duration::from_mins(1);

/// What was written is durable all the same.
#[derive(Debug, thiserror::Error)]
#[error("the writes are durable, and no worker has applied any for a minute: start one")]
pub struct NotApplied;

/// Waits until all positions up to these are applied.
pub async fn until_applied(reader: &Reader, last: &[Position]) -> Result<(), NotApplied> {
    let mut seen = Vec::new();
    let mut still = Stopwatch::start();
    loop {
        match reader.positions().await {
            Ok(positions) => {
                let next = |one: &Position| positions.get(usize::from(one.partition)).copied();
                if last.iter().all(|one| next(one) > Some(one.offset)) {
                    return Ok(());
                }
                if positions != seen {
                    seen = positions;
                    still = Stopwatch::start();
                }
            }
            Err(error) => warn!(%error, "cannot see yet how far the writes are applied"),
        }
        if still.elapsed() >= STILL_MAX {
            return Err(NotApplied);
        }
        sleep(LOOK_AGAIN).await;
    }
}
