//! A process that works beside no API: from its start to its end.

use std::thread::JoinHandle;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Signals;
use crate::stage::{At, Stage};

/// Runs until the worker has ended. A signal stops it after what it is at, within `grace`; a
/// second one ends the wait.
///
/// Returns what the worker came to; `None` if it was left where it was.
pub async fn until_worked<T: Send + 'static>(
    worker: JoinHandle<T>,
    mut signals: Signals,
    stage: &Stage,
    stop: &CancellationToken,
    grace: Duration,
) -> Option<T> {
    let mut ended = spawn_blocking(move || worker.join());
    let signal = tokio::select! {
        // A panic has said so.
        ended = &mut ended => return ended.ok()?.ok(),
        name = signals.next() => name,
    };
    info!(
        signal,
        ?grace,
        "stopping after the batch under way; a second signal stops at once"
    );
    stage.advance(At::Leaving);
    stop.cancel();
    tokio::select! {
        ended = timeout(grace, ended) => {
            if ended.is_err() {
                warn!("the grace was over before the worker had ended");
            }
            ended.ok()?.ok()?.ok()
        }
        name = signals.next() => {
            warn!(signal = name, "stopping at once");
            None
        }
    }
}
