//! Seeding a fleet: through the log, as a server would, and waiting for a worker to apply it.

use std::collections::HashSet;

use uuid::Uuid;

use super::OpenError;
use super::applied::{NotApplied, until_applied};
use super::fleet::{Options, open_log, open_reader};
use super::reach::{Missing, until_reachable};
use crate::domain::Todo;
use crate::runtime;
use crate::seed::{self, Seeded};
use crate::store::Reader;

/// Why a seed did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Refused(#[from] seed::Refused),
    #[error(transparent)]
    NotApplied(#[from] NotApplied),
}

/// Seeds through the log, and waits until all is applied. No server need run; a worker must.
///
/// # Errors
/// [`SeedError`]; what was created by then stays.
pub fn seed(options: &Options, todos: u64, progress: impl FnMut(u64)) -> Result<Seeded, SeedError> {
    let runtime = runtime::single_threaded().map_err(OpenError::from)?;
    runtime.block_on(async {
        until_reachable(|| options.prepare_topics()).await?;
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
