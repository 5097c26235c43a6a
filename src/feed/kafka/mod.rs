//! The feed of a fleet: a Kafka topic of one partition.

use super::{End, PublishError};
use crate::domain::Applied;
use crate::kafka::{Cluster, Durability, SetupError};

/// Where the feed is, and its limits.
#[derive(Clone, Debug)]
pub struct Options {
    pub cluster: Cluster,
    pub topic: String,
    pub durability: Durability,
    /// Bytes of the largest record, encoded: see [`record_bytes_max`].
    pub record_bytes_max: usize,
}

/// Bytes that a record of the feed can have, at most, where a batch of the log holds so many
/// commands, in so many bytes of records.
#[must_use]
pub fn record_bytes_max(batch_commands_max: usize, batch_bytes_max: usize) -> usize {
    batch_bytes_max + batch_commands_max * 512
}

/// Creates the topic where it is missing, and verifies it.
///
/// # Errors
/// [`SetupError`]
pub async fn prepare(_options: &Options) -> Result<(), SetupError> {
    unimplemented!()
}

pub struct Publisher;

impl Publisher {
    /// Makes a producer; it connects in the background.
    ///
    /// # Errors
    /// [`SetupError::Config`]: the address cannot be one.
    pub fn open(_options: &Options) -> Result<Self, SetupError> {
        unimplemented!()
    }

    pub(super) async fn publish(&mut self, _applied: Vec<Applied>) -> Result<(), PublishError> {
        unimplemented!()
    }
}

pub struct Subscriber;

impl Subscriber {
    /// Makes nothing yet: the first [`Subscriber::seek_to_end`] connects.
    #[must_use]
    pub fn open(_options: &Options) -> Self {
        unimplemented!()
    }

    pub(super) async fn seek_to_end(&mut self) {
        unimplemented!()
    }

    pub(super) async fn next(&mut self) -> Result<Vec<Applied>, End> {
        unimplemented!()
    }
}
