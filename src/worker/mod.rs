//! The worker: takes batches from the log, has the store apply them, publishes what changed.
//!
//! Alone it runs on the one writer thread. In a fleet there are several, which share the log's
//! partitions; what one of them does to a batch is always, in this order: apply (one transaction),
//! publish, tell the store what is published, settle. It may die between any two of these: what is
//! committed is in the outbox until it is known to be in the feed, and where to go on is read from
//! the store and nowhere else. So the next batch need not wait: where one is there already, it is
//! applied while the one before is published, and a later transaction settles that.
//!
//! # What becomes of a batch that was not applied
//! A log whose appenders still wait (alone) tells them: not enqueued, or unknown. A log that has
//! acknowledged already (a fleet) keeps the batch, and the worker decides:
//! - nothing was applied, for certain: wait, and try the same batch again, for as long as its
//!   partitions are this worker's; `patience` has the times;
//! - the positions moved, or nobody can say: begin again where the store stands (`takeover`).
//!
//! # What becomes of a feed that refuses
//! The batch stands, and its rows stay in the outbox. While any do, batches are handed on through
//! the outbox, so that the feed keeps their order. Servers meanwhile load what they miss from the
//! store. Beyond [`UNPUBLISHED_MAX`] ranges nothing more is applied until the feed has taken them.

mod hand_on;
mod patience;
mod takeover;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{OptionFuture, join};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock::Clock;
use crate::domain::{Applied, Batch, Outcome};
use crate::fault::{Point, reach};
use crate::feed::{PublishError, Publisher};
use crate::log::{AppendError, Consumer, Event, Strange};
use crate::store::{ApplyError, Store, StoreError};
use hand_on::hand_on;
use patience::{Patience, Waited};

/// How often the store forgets what is past its retention. Retentions are in hours.
const FORGET_EVERY: Duration = Duration::from_mins(5);
/// How often the owner of partitions looks for what another worker committed and did not publish.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Ranges that may wait in the outbox for a feed that refuses before the worker stops applying.
/// Each holds up to a batch, and all are read at once when the feed takes them again.
const UNPUBLISHED_MAX: usize = 64;

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

/// How a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub commands: usize,
    pub applied: bool,
    /// Commands of it that became dead letters.
    pub dead_letters: usize,
    /// From the batch's being handed out to its being applied or not.
    pub duration_micros: i64,
}

/// What the worker did or met, for whoever counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Batch(Step),
    /// Partitions that are this worker's now.
    Owned(usize),
    /// Commands of these that wait.
    Lag(u64),
    /// Ranges that lay in the outbox of its partitions when it looked.
    Outbox(usize),
    /// It began again where the store stands.
    Restarted,
    /// It gave its partitions to others, until the store answers.
    StoodAside,
    StoreAnswers,
    StoreFails(String),
    FeedFails,
}

pub struct Worker<Observe> {
    pub consumer: Consumer,
    pub store: Store,
    pub publisher: Publisher,
    pub clock: Clock,
    /// Told of everything.
    pub observe: Observe,
    /// Ends it after the batch under way, whose partitions others then take at once. A log that
    /// is closed ends it as well, after all batches.
    pub stop: CancellationToken,
}

/// Works until it is stopped, or the log is closed and drained, or nobody can say how to go on.
/// Wants a runtime of its own thread, with time enabled: a store may block it.
pub async fn run<Observe: FnMut(Seen)>(worker: Worker<Observe>) -> Result<(), Fatal> {
    let mut worker = Working {
        worker,
        owned: BTreeSet::new(),
        applied: None,
        unsettled: false,
        unpublished: 0,
        patience: Patience::default(),
    };
    let stop = worker.worker.stop.clone();
    let mut forget = every(FORGET_EVERY);
    let mut sweep = every(SWEEP_EVERY);
    worker.forget(&mut forget).await?;
    while !stop.is_cancelled() {
        // Unbiased: under load each gets its turn.
        tokio::select! {
            event = worker.worker.consumer.next() => match event {
                Ok(Some(event)) => worker.meet(event).await?,
                Ok(None) => return worker.finish().await,
                Err(strange) => {
                    worker.finish().await?;
                    return Err(Fatal::Log(strange));
                }
            },
            _ = sweep.tick() => worker.look_after().await?,
            _ = forget.tick() => worker.forget(&mut forget).await?,
            () = stop.cancelled() => {}
        }
        // What a feed refuses is counted before more is applied.
        if worker.unpublished > 0 || !worker.worker.consumer.has_more() {
            worker.finish().await?;
        } else if worker.applied.is_some() {
            worker.acknowledge();
        }
    }
    worker.finish().await?;
    let mut consumer = worker.worker.consumer;
    consumer.close();
    // Closed, it ends once the others can have its partitions.
    while consumer.next().await.map_err(Fatal::Log)?.is_some() {}
    Ok(())
}

/// For the first time in a while.
fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.reset();
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// A worker at work.
struct Working<Observe> {
    worker: Worker<Observe>,
    /// Partitions that are this worker's, as far as it was told. Alone the log tells nothing.
    owned: BTreeSet<u16>,
    /// What the last batch came to, until it is handed on.
    applied: Option<Vec<Applied>>,
    /// Whether the outbox still holds what the feed is known to have.
    unsettled: bool,
    /// Ranges of this worker that the feed did not take. While there are any, all go through the
    /// outbox, in their order.
    unpublished: usize,
    patience: Patience,
}

/// What to do with a batch that was not applied.
enum Next {
    TryAgain,
    /// It is somebody else's now, or handed out anew.
    Leave,
}

impl<Observe: FnMut(Seen)> Working<Observe> {
    async fn meet(&mut self, event: Event) -> Result<(), Fatal> {
        match event {
            Event::Assigned(partitions) => {
                self.finish().await?;
                self.owned.extend(&partitions);
                // What went wrong with other partitions, long ago perhaps, says nothing of these.
                self.patience.relax();
                self.see(Seen::Owned(self.owned.len()));
                reach(Point::Assigned);
                self.begin(&partitions).await
            }
            Event::Revoked(partitions) => {
                self.owned.retain(|one| !partitions.contains(one));
                self.see(Seen::Owned(self.owned.len()));
                self.finish().await
            }
            Event::Batch(batch) => self.step(batch).await,
        }
    }

    /// An error drops the consumer, which leaves those that still wait with the truth; here it is
    /// told to those of the batch.
    async fn step(&mut self, mut batch: Batch) -> Result<(), Fatal> {
        loop {
            reach(Point::BeforeApply);
            let error = match self.apply(&mut batch).await? {
                Ok(applied) => {
                    reach(Point::AfterCommit);
                    self.patience.relax();
                    self.see(Seen::StoreAnswers);
                    self.applied = Some(applied);
                    return Ok(());
                }
                Err(error) => error,
            };
            let told = match error {
                ApplyError::Unknown(_) => AppendError::Unknown,
                ApplyError::NotApplied(_) | ApplyError::Moved(_) => AppendError::NotEnqueued,
            };
            if self.worker.consumer.refuse(told) {
                return self.refused(batch.records.len(), error);
            }
            match self.decide(error).await? {
                Next::TryAgain => {}
                Next::Leave => return Ok(()),
            }
        }
    }

    /// Applies a batch, and meanwhile hands on what the one before came to.
    async fn apply(
        &mut self,
        batch: &mut Batch,
    ) -> Result<Result<Vec<Applied>, ApplyError>, Fatal> {
        let (before, unpublished) = (self.applied.take(), self.unpublished);
        let worker = &mut self.worker;
        let clock = worker.clock;
        let commands = batch.records.len();
        let started = clock();
        let applying = async {
            let done = worker.store.apply(batch).await;
            (done, clock())
        };
        let publisher = &mut worker.publisher;
        let handing_on = OptionFuture::from(before.map(|it| hand_on(publisher, it, unpublished)));
        let ((done, ended), handed_on) = join(applying, handing_on).await;
        let step = Step {
            commands,
            applied: done.is_ok(),
            dead_letters: done.as_deref().map_or(0, dead_letters),
            duration_micros: ended.as_micros() - started.as_micros(),
        };
        self.see(Seen::Batch(step));
        if let Some(handed_on) = handed_on {
            self.handed_on(handed_on).await?;
        }
        Ok(done)
    }

    /// Who wrote it knows by now.
    fn refused(&mut self, commands: usize, error: ApplyError) -> Result<(), Fatal> {
        if let ApplyError::NotApplied(reason) = error {
            warn!(commands, reason, "a batch was not applied");
            return Ok(());
        }
        self.worker.consumer.close();
        Err(Fatal::Apply(error))
    }

    /// Who wrote it has been told that it will be applied.
    async fn decide(&mut self, error: ApplyError) -> Result<Next, Fatal> {
        match error {
            ApplyError::NotApplied(reason) => {
                warn!(
                    reason,
                    "a batch was not applied; it is kept and tried again"
                );
                self.see(Seen::StoreFails(reason));
            }
            // Expected whenever partitions change hands.
            ApplyError::Moved(_) => {
                self.begin_again().await?;
                return Ok(Next::Leave);
            }
            ApplyError::Unknown(reason) => {
                warn!(
                    reason,
                    "nobody can say whether a batch was applied; the store will"
                );
                self.see(Seen::StoreFails(reason));
                self.begin_again().await?;
                return Ok(Next::Leave);
            }
        }
        match self.patience.wait(&self.worker.stop).await {
            Waited::Again if self.worker.consumer.owns_batch() => return Ok(Next::TryAgain),
            Waited::Again => self.begin_again().await?,
            Waited::Enough => self.stand_aside().await?,
            Waited::Stopped => {}
        }
        Ok(Next::Leave)
    }

    async fn forget(&mut self, interval: &mut Interval) -> Result<(), Fatal> {
        self.finish().await?;
        let forgotten = self.worker.store.forget((self.worker.clock)()).await;
        if tolerate("forgetting", forgotten)? == Some(true) {
            interval.reset_immediately();
        }
        Ok(())
    }

    fn see(&mut self, seen: Seen) {
        (self.worker.observe)(seen);
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
            warn!(reason, "{what} failed and is put off");
            Ok(None)
        }
        Err(broken @ StoreError::Broken(_)) => Err(Fatal::Store(broken)),
    }
}
