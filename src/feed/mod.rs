//! The port to the feed of applied ranges: what the worker changed, on its way to the snapshots.

#[cfg(test)]
mod contract;
pub mod embedded;

use crate::domain::Applied;

/// Limits of a feed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Transactions that may wait for the subscriber. When it is reached the worker waits: the
    /// snapshot falls behind by no more than this, and memory holds no more batches than this.
    pub transactions_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            transactions_max: 16,
        }
    }
}

/// Nobody reads the feed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the feed has no subscriber any more")]
pub struct Closed;

/// The worker's end of the feed.
pub enum Publisher {
    Embedded(embedded::Publisher),
}

impl Publisher {
    /// Hands on what one transaction did; waits while the feed is full.
    pub async fn publish(&mut self, applied: Vec<Applied>) -> Result<(), Closed> {
        match self {
            Self::Embedded(publisher) => publisher.publish(applied).await,
        }
    }
}

/// A server's end of the feed.
pub enum Subscriber {
    Embedded(embedded::Subscriber),
}

impl Subscriber {
    /// All that waits, oldest first; `None` once the publisher is gone and everything was read.
    ///
    /// # Cancel safety
    /// Nothing is taken before the future is ready.
    pub async fn next(&mut self) -> Option<Vec<Applied>> {
        match self {
            Self::Embedded(subscriber) => subscriber.next().await,
        }
    }
}
