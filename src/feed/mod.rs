//! The port to the feed of applied ranges: what the worker changed, on its way to the snapshots.

#[cfg(test)]
mod contract;
pub mod embedded;
pub mod kafka;

pub use crate::domain::APPLIED_BYTES_MAX;
use crate::domain::Applied;

/// Bytes of a record of the feed for each command beside the command's own bytes: a change has the
/// same texts in the same spelling, and ids, times, a tag and names of members of this length, at
/// most; a dead letter has its reason.
const COMMAND_OVERHEAD_BYTES: usize = 768;
/// Numbers around all of them.
const FRAME_BYTES: usize = 1 << 10;

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

/// Bytes of the largest record of the feed, where a batch of the log holds up to so many commands
/// in up to so many bytes of records. (A command larger than a batch comes alone: the second
/// argument is then its size.)
#[must_use]
pub fn record_bytes_max(batch_commands_max: usize, batch_bytes_max: usize) -> usize {
    batch_commands_max
        .saturating_mul(COMMAND_OVERHEAD_BYTES)
        .saturating_add(batch_bytes_max)
        .saturating_add(FRAME_BYTES)
}

/// Why something was not handed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Nobody reads the feed any more, nor ever will.
    #[error("the feed has no subscriber any more")]
    Closed,
    /// Some or all of it may not be in the feed. Publishing it again is safe: readers drop what
    /// they have.
    #[error("the feed did not take it: {0}")]
    Again(String),
}

/// The worker's end of the feed.
pub enum Publisher {
    Embedded(embedded::Publisher),
    Kafka(kafka::Publisher),
    #[cfg(test)]
    Scripted(crate::worker::tests::world::Publisher),
}

impl Publisher {
    /// Hands on what was applied, and waits until the feed has all of it durably.
    pub async fn publish(&mut self, applied: Vec<Applied>) -> Result<(), PublishError> {
        match self {
            Self::Embedded(publisher) => publisher.publish(applied).await,
            Self::Kafka(publisher) => publisher.publish(applied).await,
            #[cfg(test)]
            Self::Scripted(publisher) => publisher.publish(&applied),
        }
    }
}

/// Why nothing more comes from a feed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The publisher is gone and everything was read.
    #[error("the feed is closed")]
    Closed,
    /// Where the subscriber stood is not in the feed any more, or holds what is no record of it.
    /// Go to the end and load anew.
    #[error("the place in the feed is lost: {0}")]
    Lost(String),
}

/// A server's end of the feed.
pub enum Subscriber {
    Embedded(embedded::Subscriber),
    Kafka(kafka::Subscriber),
}

impl Subscriber {
    /// Goes to the feed's end: what is published from here on is what `next` hands out. Tried
    /// until the feed answers.
    ///
    /// # Cancel safety
    /// The subscriber stands where it stood or at the end.
    pub async fn seek_to_end(&mut self) {
        match self {
            Self::Embedded(_) => {}
            Self::Kafka(subscriber) => subscriber.seek_to_end().await,
        }
    }

    /// All that waits, oldest first; at least one.
    ///
    /// # Errors
    /// [`End`]: nothing more comes from here.
    ///
    /// # Cancel safety
    /// Nothing is taken before the future is ready.
    pub async fn next(&mut self) -> Result<Vec<Applied>, End> {
        match self {
            Self::Embedded(subscriber) => subscriber.next().await,
            Self::Kafka(subscriber) => subscriber.next().await,
        }
    }
}
