//! What is left to do of a batch that is applied: it is published, the store is told, and what the
//! feed has leaves the outbox.

use super::{Fatal, Seen, Working, tolerate};
use crate::domain::{Applied, Range};
use crate::fault::{Point, reach};
use crate::feed::{PublishError, Publisher};

/// What became of handing ranges on.
pub(super) struct HandedOn {
    ranges: Vec<Range>,
    done: Result<(), PublishError>,
}

impl<Observe: FnMut(Seen)> Working<Observe> {
    /// Does what is left to do of the last batch. Published first: who is acknowledged and then waits
    /// usually finds it passed.
    pub(super) async fn finish(&mut self) -> Result<(), Fatal> {
        if let Some(applied) = self.applied.take() {
            let handed_on = hand_on(&mut self.worker.publisher, applied, self.unpublished).await;
            self.acknowledge();
            self.handed_on(handed_on).await?;
        }
        if self.unsettled {
            self.settle().await?;
            reach(Point::AfterSettle);
        }
        Ok(())
    }

    pub(super) fn acknowledge(&mut self) {
        self.worker.consumer.acknowledge();
        reach(Point::AfterAcknowledge);
    }

    pub(super) async fn handed_on(&mut self, handed_on: HandedOn) -> Result<(), Fatal> {
        let HandedOn { ranges, done } = handed_on;
        match done {
            Ok(()) => {
                self.worker.store.published(&ranges);
                self.unsettled = true;
                Ok(())
            }
            Err(PublishError::Again(reason)) => {
                self.unpublished += ranges.len();
                self.hand_on_later(reason).await
            }
            Err(closed @ PublishError::Closed) => Err(Fatal::Feed(closed)),
        }
    }

    async fn settle(&mut self) -> Result<(), Fatal> {
        let settled = self.worker.store.settle().await;
        self.unsettled = tolerate("settling", settled)?.is_none();
        Ok(())
    }
}

/// Publishes what was applied, unless ranges before it are `unpublished`.
pub(super) async fn hand_on(
    publisher: &mut Publisher,
    applied: Vec<Applied>,
    unpublished: usize,
) -> HandedOn {
    let ranges = applied.iter().map(|one| one.range).collect();
    let done = if unpublished == 0 {
        publisher.publish(applied).await
    } else {
        Err(PublishError::Again("what came before is not there".into()))
    };
    reach(Point::AfterPublish);
    HandedOn { ranges, done }
}
