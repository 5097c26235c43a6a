//! The feed of a fleet: a Kafka topic of one partition, written by every worker and read by every
//! server.

mod publisher;
mod subscriber;

use std::time::Duration;

use crate::kafka::{Cluster, Durability, Retention, SetupError, Topic};

pub use publisher::Publisher;
pub use subscriber::Subscriber;

/// The one partition: what a transaction did to different partitions of the log has an order too.
const PARTITION: u16 = 0;
/// How long the topic keeps a record. Servers read as it comes; one that is further behind loads
/// the todos anew, which then is less work.
const RETENTION: Retention = Retention {
    wanted: Duration::from_hours(1),
    least: Duration::from_mins(10),
};
/// Bytes of a record of the feed for each command beside the command's own bytes: a change or an
/// outcome has the same texts, and ids, times and names of fields of this length, at most.
const COMMAND_OVERHEAD_BYTES: usize = 768;
/// Names and numbers around all of them.
const FRAME_BYTES: usize = 1 << 10;

/// Where the feed is, and its limits.
#[derive(Clone, Debug)]
pub struct Options {
    pub cluster: Cluster,
    pub topic: String,
    pub durability: Durability,
    /// Bytes of the largest record, encoded: see [`record_bytes_max`].
    pub record_bytes_max: usize,
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

/// Creates the topic where it is missing, and verifies it.
///
/// # Errors
/// [`SetupError`]
pub async fn prepare(options: &Options) -> Result<(), SetupError> {
    let topic = Topic {
        name: &options.topic,
        variable: "RESULTS_TOPIC",
        partitions: 1,
        durability: options.durability,
        record_bytes_max: options.record_bytes_max,
        retention: RETENTION,
    };
    options.cluster.prepare(&topic).await
}

#[cfg(test)]
mod tests;
