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
    use super::*;
    use crate::feed::contract::{applied, suite};

    fn open(options: &Options) -> (crate::feed::Publisher, crate::feed::Subscriber) {
        let (publisher, subscriber) = super::open(options);
        (
            crate::feed::Publisher::Embedded(publisher),
            crate::feed::Subscriber::Embedded(subscriber),
        )
    }

    suite!(open);

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
