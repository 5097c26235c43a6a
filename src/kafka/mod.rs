//! What the log and the feed of a fleet share: the cluster, its topics, and how clients of it are
//! made. It knows nothing of what stands in a record.
//!
//! Nothing here decides what a failure means for a command; that is `log`'s.

mod client;
mod producer;
mod topic;

pub(crate) use client::{Quiet, is_lost, not_made, trace};
pub use producer::{Delivery, Failure, Limits, Producer, SEND_TIMEOUT};
pub use topic::{Retention, Topic};

/// A Kafka cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// `host:port`, with commas between several: who is asked first for the others.
    pub brokers: String,
}

/// What a record survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durability {
    /// Brokers that hold each record.
    pub replication: u16,
    /// Brokers that must have a record before it is acknowledged.
    pub min_insync: u16,
}

/// Why a client or a topic is not ready for use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// It will not get better by waiting: the variable or the topic must be changed first.
    #[error("{variable}: {problem}")]
    Config {
        variable: &'static str,
        problem: String,
    },
    /// Try again.
    #[error("Kafka cannot be reached: {0}")]
    Unreachable(String),
}

impl SetupError {
    fn config(variable: &'static str, problem: impl Into<String>) -> Self {
        Self::Config {
            variable,
            problem: problem.into(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
