//! The feed of a process that works alone: a bounded channel.

use tokio::sync::mpsc;

use super::{End, Options, PublishError};
use crate::domain::Applied;

#[must_use]
pub fn open(options: &Options) -> (Publisher, Subscriber) {
    let (sender, receiver) = mpsc::channel(options.transactions_max);
    (Publisher { sender }, Subscriber { receiver })
}

pub struct Publisher {
    sender: mpsc::Sender<Vec<Applied>>,
}

impl Publisher {
    pub(super) async fn publish(&mut self, applied: Vec<Applied>) -> Result<(), PublishError> {
        let sent = self.sender.send(applied).await;
        sent.map_err(|_| PublishError::Closed)
    }
}

pub struct Subscriber {
    receiver: mpsc::Receiver<Vec<Applied>>,
}

impl Subscriber {
    pub(super) async fn next(&mut self) -> Result<Vec<Applied>, End> {
        let mut waiting = Vec::new();
        let limit = self.receiver.max_capacity();
        match self.receiver.recv_many(&mut waiting, limit).await {
            0 => Err(End::Closed),
            _ => Ok(waiting.into_iter().flatten().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::feed::contract::{applied, suite, taken};

    fn open(options: &Options) -> (crate::feed::Publisher, crate::feed::Subscriber) {
        let (publisher, subscriber) = super::open(options);
        (
            crate::feed::Publisher::Embedded(publisher),
            crate::feed::Subscriber::Embedded(subscriber),
        )
    }

    suite!(open(&Options::default()));

    #[tokio::test]
    async fn all_that_waits_is_taken_at_once() {
        let (mut publisher, mut subscriber) = open(&Options::default());
        for from in 0..3 {
            publisher.publish(vec![applied(from)]).await.unwrap();
        }
        assert_eq!(taken(&mut subscriber).await, [0, 1, 2]);
    }

    #[tokio::test]
    async fn a_full_feed_holds_up_the_publisher() {
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

    #[tokio::test]
    async fn the_subscriber_ends_after_the_publisher() {
        let (mut publisher, mut subscriber) = open(&Options::default());
        publisher.publish(vec![applied(0)]).await.unwrap();
        drop(publisher);
        assert_eq!(taken(&mut subscriber).await, [0]);
        assert_eq!(subscriber.next().await, Err(End::Closed));
    }

    #[tokio::test]
    async fn without_a_subscriber_the_publisher_is_told() {
        let (mut publisher, subscriber) = open(&Options::default());
        drop(subscriber);
        assert_eq!(
            publisher.publish(vec![applied(0)]).await,
            Err(PublishError::Closed)
        );
    }
}
