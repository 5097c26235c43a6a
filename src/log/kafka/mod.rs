//! The log of a fleet: a Kafka topic.
//!
//! A command is acknowledged when all in-sync replicas have it. Each todo lives in one partition,
//! so that its commands keep their order.

use super::{AppendError, Event, Options as Limits, Strange};
use crate::domain::{Command, Position, Stored};
use crate::kafka::{Cluster, Durability, SetupError};

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
    pub limits: Limits,
}

/// Creates the topic where it is missing, and verifies it. Servers and workers both do, so that
/// each can be first.
///
/// # Errors
/// [`SetupError`]
pub async fn prepare(_options: &Options) -> Result<(), SetupError> {
    unimplemented!()
}

#[derive(Clone)]
pub struct Appender;

impl Appender {
    /// Makes a producer; it connects in the background.
    ///
    /// # Errors
    /// [`SetupError::Config`]: the address cannot be one.
    pub fn open(_options: &Options) -> Result<Self, SetupError> {
        unimplemented!()
    }

    pub(super) async fn append(&self, _command: Command) -> Result<Position, AppendError> {
        unimplemented!()
    }

    pub(super) fn queued(&self) -> (usize, usize) {
        unimplemented!()
    }

    pub(super) fn close(&self) {
        unimplemented!()
    }
}

pub struct Consumer;

impl Consumer {
    /// Joins the workers' group, in the background.
    ///
    /// # Errors
    /// [`SetupError::Config`]: the address cannot be one.
    pub fn open(_options: &Options) -> Result<Self, SetupError> {
        unimplemented!()
    }

    pub(super) async fn next(&mut self) -> Result<Option<Event>, Strange> {
        unimplemented!()
    }

    pub(super) async fn start(&mut self, _from: &[Stored]) -> Result<(), Strange> {
        unimplemented!()
    }

    pub(super) fn owns_batch(&self) -> bool {
        unimplemented!()
    }

    pub(super) fn acknowledge(&mut self) {
        unimplemented!()
    }

    pub(super) async fn leave(&mut self) {
        unimplemented!()
    }

    pub(super) async fn join(&mut self) {
        unimplemented!()
    }

    pub(super) fn close(&mut self) {
        unimplemented!()
    }
}
