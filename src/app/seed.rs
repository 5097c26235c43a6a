//! Seeding a fleet: through the log, as a server would, and waiting for a worker to apply it.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;
use uuid::Uuid;

use super::OpenError;
use super::fleet::{Options, open_log, open_reader};
use super::reach::{Missing, until_reachable};
use crate::clock::Stopwatch;
use crate::domain::{Position, Todo};
use crate::runtime;
use crate::seed::{self, Seeded};
use crate::store::Reader;

/// Between two looks at how far a seed is applied.
const APPLIED_AGAIN: Duration = Duration::from_millis(100);
/// Time in which some of a seed is applied, or no worker runs.
const APPLIED_TIMEOUT: Duration = Duration::from_mins(1);

/// Why a seed did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Refused(#[from] seed::Refused),
    #[error("the writes are durable, and no worker has applied any for a minute: start one")]
    NotApplied,
}

/// Seeds through the log, and waits until all is applied. No server need run; a worker must.
///
/// # Errors
/// [`SeedError`]; what was created by then stays.
pub fn seed(options: &Options, todos: u64, progress: impl FnMut(u64)) -> Result<Seeded, SeedError> {
    let runtime = runtime::single_threaded().map_err(OpenError::from)?;
    runtime.block_on(async {
        options.prepare_topics().await?;
        let reader = open_reader(options).await?;
        let there = ids(&reader).await?;
        let log = open_log(options)?;
        let is_there = |id| there.contains(&id);
        let (seeded, last) = seed::seed(&log, todos, is_there, progress).await?;
        log.close();
        until_applied(&reader, &last).await?;
        Ok(seeded)
    })
}

async fn ids(reader: &Reader) -> Result<HashSet<Uuid>, OpenError> {
    let load = || async {
        let mut ids = HashSet::new();
        let mut note = |todo: Todo| {
            ids.insert(todo.id);
        };
        match reader.load(&mut note).await {
            Ok(_) => Ok(ids),
            Err(error) => Err(Missing::Yet("DATABASE_URL", error.to_string())),
        }
    };
    until_reachable(load).await
}

async fn until_applied(reader: &Reader, last: &[Position]) -> Result<(), SeedError> {
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
            Err(error) => warn!(%error, "cannot see yet how far the seed is applied"),
        }
        if still.elapsed() >= APPLIED_TIMEOUT {
            return Err(SeedError::NotApplied);
        }
        sleep(APPLIED_AGAIN).await;
    }
}
