//! The worker: takes batches from the log, has the store apply them, publishes what changed.
//!
//! It runs on a thread of its own, which is the one writer thread where the store is a file. What
//! an appender is told is decided here and nowhere else: applied, not enqueued, or unknown.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::domain::{Applied, Batch, Outcome};
use crate::feed::{PublishError, Publisher};
use crate::log::{AppendError, Consumer, Event, Strange};
use crate::store::{ApplyError, Store, StoreError};

/// How often the store forgets what is past its retention. Retentions are in hours.
const FORGET_EVERY: Duration = Duration::from_mins(5);

/// Why the worker stopped. Writes are not taken any more, so the process must stop as well.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    #[error(transparent)]
    Apply(ApplyError),
    #[error(transparent)]
    Store(StoreError),
    #[error(transparent)]
    Feed(PublishError),
    #[error(transparent)]
    Log(Strange),
}

/// How a batch went, for whoever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub commands: usize,
    pub applied: bool,
    /// Commands of it that became dead letters.
    pub dead_letters: usize,
    /// From the batch's being handed out to its being applied or not.
    pub duration_micros: i64,
}

pub struct Worker<Observe> {
    pub consumer: Consumer,
    pub store: Store,
    pub publisher: Publisher,
    pub clock: Clock,
    /// Told of every batch.
    pub observe: Observe,
}

/// Works until the log is closed and drained, or until nobody can say how to go on. Wants a
/// runtime of its own thread, with time enabled: a store may block it.
pub async fn run<Observe: FnMut(Step)>(mut worker: Worker<Observe>) -> Result<(), Fatal> {
    let mut forget = interval(FORGET_EVERY);
    forget.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Unbiased: under load both get their turn.
        tokio::select! {
            event = worker.consumer.next() => match event.map_err(Fatal::Log)? {
                Some(Event::Batch(batch)) => worker.step(batch).await?,
                Some(Event::Assigned(_) | Event::Revoked(_)) => {}
                None => return Ok(()),
            },
            _ = forget.tick() => worker.forget(&mut forget).await?,
        }
    }
}

impl<Observe: FnMut(Step)> Worker<Observe> {
    /// An error drops the consumer, which leaves those that still wait with the truth; here it is
    /// told to those of the batch.
    async fn step(&mut self, mut batch: Batch) -> Result<(), Fatal> {
        let commands = batch.records.len();
        let started = (self.clock)();
        let done = self.store.apply(&mut batch).await;
        (self.observe)(Step {
            commands,
            applied: done.is_ok(),
            dead_letters: done.as_deref().map_or(0, dead_letters),
            duration_micros: (self.clock)().as_micros() - started.as_micros(),
        });
        match done {
            Ok(applied) => {
                // Published first: who is acknowledged and then waits usually finds it passed.
                let published = self.publisher.publish(applied).await;
                self.consumer.acknowledge().await;
                published.map_err(Fatal::Feed)?;
                self.settle().await
            }
            Err(ApplyError::NotApplied(reason)) => {
                tracing::warn!(commands, reason, "a batch was not applied");
                self.consumer.refuse(AppendError::NotEnqueued).await;
                Ok(())
            }
            Err(error) => {
                let told = match error {
                    ApplyError::Unknown(_) => AppendError::Unknown,
                    ApplyError::NotApplied(_) | ApplyError::Moved(_) => AppendError::NotEnqueued,
                };
                self.consumer.refuse(told).await;
                self.consumer.close();
                Err(Fatal::Apply(error))
            }
        }
    }

    async fn settle(&mut self) -> Result<(), Fatal> {
        let settled = self.store.settle().await;
        tolerate("settling", settled).map(drop)
    }

    async fn forget(&mut self, interval: &mut Interval) -> Result<(), Fatal> {
        let forgotten = self.store.forget((self.clock)()).await;
        if tolerate("forgetting", forgotten)? == Some(true) {
            interval.reset_immediately();
        }
        Ok(())
    }
}

fn dead_letters(applied: &[Applied]) -> usize {
    let outcomes = applied.iter().flat_map(|part| &part.outcomes);
    outcomes
        .filter(|one| matches!(one.outcome, Outcome::Dead(_)))
        .count()
}

/// What can be tried again later is, at the next occasion.
fn tolerate<T>(what: &'static str, done: Result<T, StoreError>) -> Result<Option<T>, Fatal> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(StoreError::Again(reason)) => {
            tracing::warn!(reason, "{what} failed and is put off");
            Ok(None)
        }
        Err(broken @ StoreError::Broken(_)) => Err(Fatal::Store(broken)),
    }
}
