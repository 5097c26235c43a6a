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
/// Where the feed is, and its limits.
#[derive(Clone, Debug)]
pub struct Options {
    pub cluster: Cluster,
    pub topic: String,
    pub durability: Durability,
    /// Bytes of the largest record, encoded: see [`crate::feed::record_bytes_max`].
    pub record_bytes_max: usize,
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
