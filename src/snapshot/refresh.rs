//! Follows the feed: renews the snapshot with what was applied, publishes it, moves the marks.
//!
//! In this order, so that whoever is told that a write is applied finds it in the snapshot.

use std::time::Duration;

use super::gzip::Deflater;
use super::{Published, encode};
use crate::clock::Stopwatch;
use crate::domain::{Applied, Range};
use crate::feed::{End, Subscriber};
use crate::marks::Marks;

/// The feed went on somewhere else than the snapshot ends: it has to be loaded anew. What is
/// published stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the feed goes on with {range:?} where the snapshot is at {position:?}")]
pub struct Gap {
    pub range: Range,
    /// `None`: the snapshot has no such partition.
    pub position: Option<u64>,
}

/// Why the feed does not lead on from the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    #[error(transparent)]
    Gap(#[from] Gap),
    /// The subscriber's place in the feed is lost.
    #[error("the place in the feed is lost: {0}")]
    Lost(String),
}

/// A version that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Ranges of the feed that it brought.
    pub ranges: usize,
    /// Commands of these.
    pub commands: u64,
    /// From taking them off the feed.
    pub took: Duration,
}

/// Runs until the feed is closed; `on_publish` is told of each version. What waits in the feed is
/// published together, so a burst of writes costs one version. Belongs on a thread of its own: a
/// version of a million todos takes under a millisecond, a large batch more.
///
/// # Errors
/// [`Halt`]; nothing of what came with it is published.
///
/// # Cancel safety
/// Whatever the subscriber's `next` has handed out is published before the next wait.
pub async fn run(
    subscriber: &mut Subscriber,
    published: &Published,
    marks: &Marks,
    mut on_publish: impl FnMut(Renewed),
) -> Result<(), Halt> {
    let mut deflater = Deflater::new();
    loop {
        let mut applied = match subscriber.next().await {
            Ok(applied) => applied,
            Err(End::Closed) => return Ok(()),
            Err(End::Lost(why)) => return Err(Halt::Lost(why)),
        };
        let watch = Stopwatch::start();
        let current = published.snapshot();
        drop_late(&mut applied, current.positions())?;
        if applied.is_empty() {
            continue;
        }
        let next = current.renew(&applied);
        // Released before publishing, so that publishing may free it.
        drop(current);
        encode::ahead(&next, &published.bell, &mut deflater);
        published.publish(next);
        marks.advance(&applied);
        on_publish(Renewed {
            ranges: applied.len(),
            commands: applied
                .iter()
                .map(|one| one.range.to - one.range.from)
                .sum(),
            took: watch.elapsed(),
        });
    }
}

/// Drops what the snapshot has already: a feed may deliver late or twice.
fn drop_late(applied: &mut Vec<Applied>, positions: &[u64]) -> Result<(), Gap> {
    let mut positions = positions.to_vec();
    let mut gap = None;
    applied.retain(|one| {
        let range = one.range;
        match positions.get_mut(usize::from(range.partition)) {
            Some(position) if range.to <= *position => false,
            Some(position) if range.from == *position => {
                *position = range.to;
                true
            }
            other => {
                let position = other.copied();
                gap.get_or_insert(Gap { range, position });
                false
            }
        }
    });
    gap.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::{Arc, OnceLock};
    use std::task::{Context, Wake, Waker};

    use crate::domain::Position;
    use crate::feed::{self, Publisher};
    use crate::snapshot::tests::{applied, created, todo};
    use crate::snapshot::{Builder, Coding};
    use uuid::Uuid;

    async fn follow(feed: Vec<Vec<Applied>>) -> (Arc<Published>, Result<(), Halt>) {
        let published = Published::new(Builder::new().build(vec![0, 0]));
        let (to_feed, from_feed) = feed::embedded::open(&feed::Options::default());
        let mut to_feed = Publisher::Embedded(to_feed);
        for applied in feed {
            to_feed.publish(applied).await.unwrap();
        }
        drop(to_feed);
        let mut subscriber = Subscriber::Embedded(from_feed);
        let marks = Marks::new(&[0, 0], 10);
        let end = run(&mut subscriber, &published, &marks, |_| {}).await;
        (published, end)
    }

    fn create(id: u128, partition: u16, from: u64) -> Applied {
        let range = Range {
            partition,
            from,
            to: from + 1,
        };
        let change = created(&todo(Uuid::from_u128(id), 1));
        applied(range, vec![change])
    }

    /// Looks at what is published at the moment in which it is woken.
    struct Look {
        published: Arc<Published>,
        seen: OnceLock<Vec<u64>>,
    }

    impl Wake for Look {
        fn wake(self: Arc<Self>) {
            let positions = self.published.snapshot().positions().to_vec();
            self.seen.set(positions).unwrap();
        }
    }

    #[tokio::test]
    async fn who_is_told_that_a_write_is_applied_finds_it() {
        let (to_feed, from_feed) = feed::embedded::open(&feed::Options::default());
        let mut to_feed = Publisher::Embedded(to_feed);
        let published = Published::new(Builder::new().build(vec![0]));
        let marks = Arc::new(Marks::new(&[0], 10));
        let look = Arc::new(Look {
            published: Arc::clone(&published),
            seen: OnceLock::new(),
        });
        let position = Position {
            partition: 0,
            offset: 0,
        };
        let mut waiting = pin!(marks.wait(position));
        let waker = Waker::from(Arc::clone(&look));
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        to_feed.publish(vec![create(1, 0, 0)]).await.unwrap();
        drop(to_feed);
        let mut from_feed = Subscriber::Embedded(from_feed);
        run(&mut from_feed, &published, &marks, |_| {})
            .await
            .unwrap();
        assert_eq!(look.seen.get(), Some(&vec![1]));
    }

    #[tokio::test]
    async fn what_is_applied_is_published() {
        let (published, end) = follow(vec![
            vec![create(1, 0, 0), create(2, 1, 0)],
            vec![create(3, 0, 1)],
        ])
        .await;
        assert_eq!(end, Ok(()));
        assert_eq!(published.snapshot().len(), 3);
        assert_eq!(published.snapshot().positions(), [2, 1]);
    }

    #[tokio::test]
    async fn who_asked_for_gzip_finds_it_in_what_is_published_next() {
        for asks in [false, true] {
            let (to_feed, from_feed) = feed::embedded::open(&feed::Options::default());
            let published = Published::new(Builder::new().build(vec![0]));
            if asks {
                let snapshot = published.snapshot();
                // An empty list is there in any case, and asked for nevertheless.
                assert!(snapshot.body_bytes(&snapshot.all(), Coding::Gzip).is_some());
            }
            let mut to_feed = Publisher::Embedded(to_feed);
            to_feed.publish(vec![create(1, 0, 0)]).await.unwrap();
            drop(to_feed);
            let mut from_feed = Subscriber::Embedded(from_feed);
            let marks = Marks::new(&[0], 10);
            run(&mut from_feed, &published, &marks, |_| {})
                .await
                .unwrap();
            let snapshot = published.snapshot();
            let gzip = snapshot.body_bytes(&snapshot.all(), Coding::Gzip);
            assert_eq!(gzip.is_some(), asks);
        }
    }

    #[tokio::test]
    async fn late_and_doubled_ranges_are_dropped() {
        let (published, end) = follow(vec![
            vec![create(1, 0, 0), create(2, 0, 0)],
            vec![create(3, 0, 0)],
        ])
        .await;
        assert_eq!(end, Ok(()));
        assert_eq!(published.snapshot().len(), 1);
    }

    #[tokio::test]
    async fn a_gap_ends_it_and_publishes_nothing() {
        let (published, end) = follow(vec![vec![create(1, 0, 0), create(2, 0, 7)]]).await;
        let Err(Halt::Gap(gap)) = end else {
            panic!("{end:?}");
        };
        assert_eq!(gap.position, Some(1));
        assert!(published.snapshot().is_empty());
    }
}
