//! What every feed keeps to. Each back end runs the whole suite.

use std::pin::pin;
use std::task::{Context, Waker};

use super::*;
use crate::domain::{Applied, Range};

/// Declares a test for each function of the suite. `$open` opens a new feed as
/// `(Publisher, Subscriber)`.
macro_rules! suite {
    ($open:expr) => {
        $crate::feed::contract::suite!($open,
            what_is_published_arrives_in_order,
            all_that_was_published_is_taken,
            who_stops_waiting_misses_nothing,
        );
    };
    ($open:expr, $($name:ident,)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::feed::contract::$name($open).await;
            }
        )+
    };
}
pub(crate) use suite;

pub fn applied(from: u64) -> Applied {
    Applied {
        range: Range {
            partition: 0,
            from,
            to: from + 1,
        },
        changes: vec![],
        outcomes: vec![],
    }
}

pub async fn taken(subscriber: &mut Subscriber) -> Vec<u64> {
    let next = subscriber.next().await.unwrap();
    next.into_iter().map(|one| one.range.from).collect()
}

/// Takes until it has so many.
async fn take(subscriber: &mut Subscriber, records: usize) -> Vec<u64> {
    let mut all = Vec::new();
    while all.len() < records {
        all.extend(taken(subscriber).await);
    }
    all
}

pub async fn what_is_published_arrives_in_order(
    (mut publisher, mut subscriber): (Publisher, Subscriber),
) {
    subscriber.seek_to_end().await;
    let done = tokio::spawn(async move {
        for from in (0..100).step_by(2) {
            let both = vec![applied(from), applied(from + 1)];
            publisher.publish(both).await.unwrap();
        }
        publisher
    });
    assert!(take(&mut subscriber, 100).await.into_iter().eq(0..100));
    drop(done.await.unwrap());
}

pub async fn all_that_was_published_is_taken(
    (mut publisher, mut subscriber): (Publisher, Subscriber),
) {
    subscriber.seek_to_end().await;
    for from in 0..3 {
        publisher.publish(vec![applied(from)]).await.unwrap();
    }
    assert_eq!(take(&mut subscriber, 3).await, [0, 1, 2]);
}

pub async fn who_stops_waiting_misses_nothing(
    (mut publisher, mut subscriber): (Publisher, Subscriber),
) {
    subscriber.seek_to_end().await;
    for from in 0..10 {
        {
            let next = pin!(subscriber.next());
            let context = &mut Context::from_waker(Waker::noop());
            assert!(next.poll(context).is_pending());
        }
        publisher.publish(vec![applied(from)]).await.unwrap();
        assert_eq!(taken(&mut subscriber).await, [from]);
    }
}
