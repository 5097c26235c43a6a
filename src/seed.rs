//! Todos to try things with: `millpond seed`.
//!
//! The todo `n` always has the same id, so that seeding again adds what is missing and doubles
//! nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::sleep;
use uuid::Uuid;

use crate::clock;
use crate::domain::{Action, Command, Position, Timestamp};
use crate::log::{AppendError, Appender};
use crate::marks::Marks;
use crate::snapshot::Published;

/// Who owns the todos.
pub const USER: &str = "seed-user";
/// Todos asked for at once, at most; as many as the store may hold by default.
pub const TODOS_MAX: u64 = 2_000_000;
/// The namespace of the todos' ids (UUIDv5 of their number).
const SEEDED: Uuid = Uuid::from_u128(0x7365_6564_2d61_6e64_2d67_726f_772d_6974);
/// Commands under way at once: enough to fill a batch while one is committed.
const IN_FLIGHT: usize = 8_192;
/// Pause before a command is sent again that found the log's queue full.
const QUEUE_FULL_RETRY: Duration = Duration::from_millis(5);
/// How often that is tried: for 10 s, in which a log that works has emptied its queue many times.
const QUEUE_FULL_RETRIES: u32 = 2_000;

/// What a seeding needs of the process.
#[derive(Clone)]
pub struct Seeder {
    pub log: Appender,
    pub published: Arc<Published>,
    pub marks: Arc<Marks>,
}

/// The log took no more, or nobody can say whether it did.
#[derive(Debug, thiserror::Error)]
#[error("the log does not take writes; seed again when it does, nothing is doubled")]
pub struct Refused;

/// What a seeding came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Seeded {
    pub created: u64,
    /// Todos that were there already.
    pub kept: u64,
}

impl Seeder {
    /// Creates the todos 1 to `todos` that are not there. `progress` is told how many are done.
    ///
    /// # Errors
    /// [`Refused`]; what was created by then stays.
    ///
    /// # Cancel safety
    /// What was created by then stays.
    pub async fn seed(&self, todos: u64, progress: impl FnMut(u64)) -> Result<Seeded, Refused> {
        let snapshot = self.published.snapshot();
        let is_there = |id| snapshot.find(id).is_some();
        let (seeded, last) = seed(&self.log, todos, is_there, progress).await?;
        for position in last {
            self.marks.wait(position).await;
        }
        Ok(seeded)
    }
}

/// Appends what creates the todos 1 to `todos` that are not there; returns also the last position
/// of each partition that took some.
///
/// # Errors
/// [`Refused`]; what was appended by then stays.
pub async fn seed(
    log: &Appender,
    todos: u64,
    is_there: impl Fn(Uuid) -> bool,
    mut progress: impl FnMut(u64),
) -> Result<(Seeded, Vec<Position>), Refused> {
    let start = clock::now();
    let numbers = (1..=todos).filter(|&n| !is_there(id(n)));
    let mut appends = stream::iter(numbers)
        .map(|n| create(log, n, start))
        .buffer_unordered(IN_FLIGHT);
    let mut created = 0;
    let mut last: BTreeMap<u16, Position> = BTreeMap::new();
    while let Some(position) = appends.next().await {
        let position = position?;
        let of_partition = last.entry(position.partition).or_insert(position);
        *of_partition = position.max(*of_partition);
        created += 1;
        progress(created);
    }
    let seeded = Seeded {
        created,
        kept: todos - created,
    };
    Ok((seeded, last.into_values().collect()))
}

async fn create(log: &Appender, n: u64, start: Timestamp) -> Result<Position, Refused> {
    for _ in 0..QUEUE_FULL_RETRIES {
        match log.append(command(n, start)).await {
            Ok(position) => return Ok(position),
            Err(AppendError::NotEnqueued) => sleep(QUEUE_FULL_RETRY).await,
            Err(AppendError::Unknown) => return Err(Refused),
        }
    }
    Err(Refused)
}

fn id(n: u64) -> Uuid {
    Uuid::new_v5(&SEEDED, &n.to_be_bytes())
}

/// Todos lie a microsecond apart, so that the list has them by number.
fn command(n: u64, start: Timestamp) -> Command {
    let action = Action::Create {
        id: id(n),
        title: format!("Todo {n}"),
        description: format!("Description for todo {n}"),
    };
    let at = start.plus_micros(i64::try_from(n).unwrap_or(i64::MAX));
    Command {
        user: USER.to_owned(),
        at,
        key: None,
        action,
    }
}
