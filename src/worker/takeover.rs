//! Beginning where the store stands: at every assignment, after a conflict, after what nobody can
//! tell. And stepping aside where this worker cannot.
//!
//! Positions first, then the outbox, then the log: whoever commits in between makes the first
//! batch begin at the wrong place, which its transaction finds out.

use tracing::{info, warn};

use super::{Fatal, Seen, Waited, Working};
use crate::domain::{Range, Stored};
use crate::fault::{Point, reach};
use crate::feed::PublishError;
use crate::log::Strange;
use crate::store::StoreError;

/// Why something did not go through.
enum Trouble {
    /// It may later.
    Later(String),
    Fatal(Fatal),
}

impl<Observe: FnMut(Seen)> Working<Observe> {
    /// Begins all partitions anew, after what is not this worker's fault.
    pub(super) async fn begin_again(&mut self) -> Result<(), Fatal> {
        self.see(Seen::Restarted);
        match self.patience.wait(&self.worker.stop).await {
            Waited::Again => {}
            Waited::Enough => return self.stand_aside().await,
            Waited::Stopped => return Ok(()),
        }
        let owned: Vec<u16> = self.owned.iter().copied().collect();
        self.begin(&owned).await
    }

    /// Begins partitions, however often it takes. What was handed out of them is forgotten.
    pub(super) async fn begin(&mut self, partitions: &[u16]) -> Result<(), Fatal> {
        loop {
            match self.try_begin(partitions).await {
                Ok(()) => return Ok(()),
                Err(Trouble::Fatal(fatal)) => return Err(fatal),
                Err(Trouble::Later(reason)) => warn!(reason, "cannot begin yet"),
            }
            match self.patience.wait(&self.worker.stop).await {
                Waited::Again => {}
                Waited::Enough => return self.stand_aside().await,
                Waited::Stopped => return Ok(()),
            }
        }
    }

    async fn try_begin(&mut self, partitions: &[u16]) -> Result<(), Trouble> {
        let stored = self.worker.store.positions().await;
        let stored = stored.map_err(|error| self.store_trouble(error))?;
        reach(Point::PositionsRead);
        self.sweep(partitions).await?;
        let is_named = |one: &&Stored| partitions.contains(&one.partition);
        let from: Vec<Stored> = stored.iter().filter(is_named).copied().collect();
        if from.len() < partitions.len() {
            let text = format!("the store knows {} of {partitions:?}", from.len());
            return Err(Trouble::Fatal(Fatal::Log(Strange(text))));
        }
        let stop = self.worker.stop.clone();
        // It may wait for the log's answer; a worker that shall end does not.
        let started = tokio::select! {
            started = self.worker.consumer.start(&from) => started,
            () = stop.cancelled() => Ok(()),
        };
        started.map_err(|strange| Trouble::Fatal(Fatal::Log(strange)))?;
        reach(Point::Started);
        Ok(())
    }

    /// Once in a while: what another worker left behind reaches the feed, and a feed that refused
    /// is tried again.
    pub(super) async fn look_after(&mut self) -> Result<(), Fatal> {
        self.finish().await?;
        self.see(Seen::Lag(self.worker.consumer.lag()));
        if self.owned.is_empty() {
            return Ok(());
        }
        match self.sweep_owned().await {
            Ok(()) => self.patience.relax(),
            Err(Trouble::Later(reason)) => warn!(reason, "the outbox is not swept"),
            Err(Trouble::Fatal(fatal)) => return Err(fatal),
        }
        Ok(())
    }

    /// After the feed did not take a batch: with all that waits, in order, or not at all.
    pub(super) async fn hand_on_later(&mut self, reason: String) -> Result<(), Fatal> {
        match self.sweep_owned().await {
            Ok(()) => return Ok(()),
            Err(Trouble::Fatal(fatal)) => return Err(fatal),
            Err(Trouble::Later(_)) => warn!(reason, "the outbox keeps what the feed refused"),
        }
        if self.unpublished > super::UNPUBLISHED_MAX {
            return self.begin_again().await;
        }
        Ok(())
    }

    async fn sweep_owned(&mut self) -> Result<(), Trouble> {
        let owned: Vec<u16> = self.owned.iter().copied().collect();
        self.sweep(&owned).await?;
        self.unpublished = 0;
        Ok(())
    }

    /// Hands on what lies in the outbox of these partitions, which a store reads in parts.
    async fn sweep(&mut self, partitions: &[u16]) -> Result<(), Trouble> {
        loop {
            let rows = self.worker.store.unpublished(partitions).await;
            let rows = rows.map_err(|error| self.store_trouble(error))?;
            self.see(Seen::StoreAnswers);
            self.see(Seen::Outbox(rows.len()));
            if rows.is_empty() {
                break;
            }
            let ranges: Vec<Range> = rows.iter().map(|one| one.range).collect();
            let published = self.worker.publisher.publish(rows).await;
            published.map_err(|error| self.feed_trouble(error))?;
            reach(Point::Swept);
            self.worker.store.published(&ranges);
            self.settle_now().await?;
        }
        // Also for what could not be settled when it was published.
        self.settle_now().await
    }

    async fn settle_now(&mut self) -> Result<(), Trouble> {
        let settled = self.worker.store.settle().await;
        settled.map_err(|error| self.store_trouble(error))
    }

    /// Others may have better luck. The store is asked until it answers; nothing of the log is
    /// missed, since this worker then begins where the store stands.
    pub(super) async fn stand_aside(&mut self) -> Result<(), Fatal> {
        warn!("no commit for long: the partitions are left to others until the store answers");
        self.see(Seen::StoodAside);
        self.owned.clear();
        self.unpublished = 0;
        self.see(Seen::Owned(0));
        self.worker.consumer.leave();
        loop {
            match self.worker.store.positions().await {
                Ok(_) => break,
                Err(error) => match self.store_trouble(error) {
                    Trouble::Fatal(fatal) => return Err(fatal),
                    Trouble::Later(reason) => warn!(reason, "the store does not answer"),
                },
            }
            self.patience.relax_deadline();
            if self.patience.wait(&self.worker.stop).await == Waited::Stopped {
                return Ok(());
            }
        }
        self.patience.relax();
        self.worker.consumer.join();
        info!("the store answers again");
        Ok(())
    }

    fn store_trouble(&mut self, error: StoreError) -> Trouble {
        match error {
            StoreError::Again(reason) => {
                self.see(Seen::StoreFails(reason.clone()));
                Trouble::Later(reason)
            }
            StoreError::Broken(_) => Trouble::Fatal(Fatal::Store(error)),
        }
    }

    fn feed_trouble(&mut self, error: PublishError) -> Trouble {
        match error {
            PublishError::Again(reason) => {
                self.see(Seen::FeedFails);
                Trouble::Later(reason)
            }
            PublishError::Closed => Trouble::Fatal(Fatal::Feed(error)),
        }
    }
}
