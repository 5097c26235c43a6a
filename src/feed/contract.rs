//! What every feed keeps to. Each back end runs the whole suite.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::domain::{Applied, Range};

/// Declares a test for each function of the suite. `$open` opens a new feed, of the given
/// options, as `(Publisher, Subscriber)`.
macro_rules! suite {
    ($open:expr) => {
        $crate::feed::contract::suite!($open,
            what_is_published_arrives_in_order,
            all_that_waits_is_taken_at_once,
            a_full_feed_holds_up_the_publisher,
            the_subscriber_ends_after_the_publisher,
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

type Open = fn(&Options) -> (Publisher, Subscriber);

async fn taken(subscriber: &mut Subscriber) -> Vec<u64> {
    let next = subscriber.next().await.unwrap();
    next.into_iter().map(|one| one.range.from).collect()
}

pub async fn what_is_published_arrives_in_order(open: Open) {
    let (mut publisher, mut subscriber) = open(&Options::default());
    let done = tokio::spawn(async move {
        for from in (0..100).step_by(2) {
            let both = vec![applied(from), applied(from + 1)];
            publisher.publish(both).await.unwrap();
        }
        publisher
    });
    let mut arrived = Vec::new();
    while arrived.len() < 100 {
        arrived.extend(taken(&mut subscriber).await);
    }
    assert!(arrived.into_iter().eq(0..100));
    drop(done.await.unwrap());
}

pub async fn all_that_waits_is_taken_at_once(open: Open) {
    let (mut publisher, mut subscriber) = open(&Options::default());
    for from in 0..3 {
        publisher.publish(vec![applied(from)]).await.unwrap();
    }
    assert_eq!(taken(&mut subscriber).await, [0, 1, 2]);
}

pub async fn a_full_feed_holds_up_the_publisher(open: Open) {
    let (mut publisher, mut subscriber) = open(&Options {
        transactions_max: 2,
    });
    for from in 0..2 {
        publisher.publish(vec![applied(from)]).await.unwrap();
    }
    let mut third = pin!(publisher.publish(vec![applied(2)]));
    let context = &mut Context::from_waker(Waker::noop());
    assert!(third.as_mut().poll(context).is_pending());
    assert_eq!(taken(&mut subscriber).await, [0, 1]);
    assert_eq!(third.as_mut().poll(context), Poll::Ready(Ok(())));
    assert_eq!(taken(&mut subscriber).await, [2]);
}

pub async fn the_subscriber_ends_after_the_publisher(open: Open) {
    let (mut publisher, mut subscriber) = open(&Options::default());
    publisher.publish(vec![applied(0)]).await.unwrap();
    drop(publisher);
    assert_eq!(taken(&mut subscriber).await, [0]);
    assert_eq!(subscriber.next().await, Err(End::Closed));
}
