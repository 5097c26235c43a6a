//! The log of a fleet: a Kafka topic.
//!
//! A command is acknowledged when all in-sync replicas have it. Each todo lives in one partition,
//! so that its commands keep their order.

mod appender;
mod buffer;
mod consumer;
mod identity;
mod placement;
mod poller;

use std::time::Duration;

use tokio::task::spawn_blocking;

use super::Options as Limits;
use crate::domain::Stored;
use crate::kafka::{Cluster, Durability, Retention, SetupError, Topic};

pub use appender::Appender;
pub use consumer::Consumer;
pub use identity::Doubt;

/// How long the topic keeps a command: workers may be away for so long. Whoever comes later finds
/// the log beginning after the store's position, and stops.
const RETENTION: Retention = Retention {
    wanted: Duration::from_hours(24 * 7),
    least: Duration::from_hours(24),
};

/// Where the log is, and its limits.
#[derive(Clone, Debug)]
pub struct Options {
    pub cluster: Cluster,
    /// The topic's name, and that of the workers' group.
    pub topic: String,
    /// Of the topic, from its creation on: it decides where a todo lives.
    pub partitions: u16,
    pub durability: Durability,
    /// Bytes of the largest command, encoded.
    pub record_bytes_max: usize,
    /// How long a command waits for others to travel with. The client sends each partition's
    /// commands in a request of their own, and with little to travel with these are most of the
    /// work on both sides.
    pub linger: Duration,
    pub limits: Limits,
}

/// Creates the topic where it is missing, and verifies it. Servers and workers both do, so that
/// each can be first.
///
/// # Errors
/// [`SetupError`]
pub async fn prepare(options: &Options) -> Result<(), SetupError> {
    let topic = Topic {
        name: &options.topic,
        variable: "KAFKA_TODO_TOPIC",
        partitions: options.partitions,
        durability: options.durability,
        record_bytes_max: options.record_bytes_max,
        retention: RETENTION,
    };
    options.cluster.prepare(&topic).await
}

/// Whether the topic is there, without making it.
///
/// # Errors
/// [`Doubt`]
///
/// # Cancel safety
/// As [`verify`].
pub async fn exists(options: &Options) -> Result<(), Doubt> {
    let options = options.clone();
    let looked = spawn_blocking(move || identity::exists(&options)).await;
    looked.expect("looking does not panic")
}

/// Compares the topic with where the store stands. A client of its own looks, on a thread for
/// blocking work.
///
/// # Errors
/// [`Doubt`]
///
/// # Cancel safety
/// The look goes on to its end, and nothing comes of it.
pub async fn verify(options: &Options, stored: Vec<Stored>) -> Result<(), Doubt> {
    let options = options.clone();
    let verified = spawn_blocking(move || identity::verify(&options, &stored)).await;
    verified.expect("verifying does not panic")
}

#[cfg(test)]
mod tests;
