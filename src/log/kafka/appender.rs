//! The servers' end: a producer of commands.

use std::sync::Arc;

use uuid::Uuid;

use super::Options;
use super::placement::Placement;
use crate::domain::{Command, Position, Timestamp};
use crate::kafka::{Failure, Limits, Producer, SetupError};
use crate::log::AppendError;

#[derive(Clone)]
pub struct Appender {
    producer: Arc<Producer>,
    placement: Placement,
}

impl Appender {
    /// Makes a producer; it connects in the background.
    ///
    /// # Errors
    /// [`SetupError::Config`]: the address cannot be one.
    pub fn open(options: &Options) -> Result<Self, SetupError> {
        let limits = Limits {
            queue_records_max: options.limits.queue_commands_max,
            queue_bytes_max: options.limits.queue_bytes_max,
            record_bytes_max: options.record_bytes_max,
            linger: options.linger,
        };
        let producer = Producer::open(&options.cluster, &options.topic, limits)?;
        Ok(Self {
            producer: Arc::new(producer),
            placement: Placement::new(options.partitions, options.linger),
        })
    }

    pub(in crate::log) async fn append(&self, command: Command) -> Result<Position, AppendError> {
        let partition = self.placement.of(&command);
        let sent = self.producer.send(partition, &command.encode());
        drop(command);
        let acknowledged = match sent {
            Ok(delivery) => delivery.done().await,
            Err(refused) => Err(refused),
        };
        match acknowledged {
            Ok(offset) => Ok(Position { partition, offset }),
            Err(failure) => {
                tracing::debug!(%failure, "a command was not acknowledged");
                Err(match failure {
                    Failure::NotSent(_) => AppendError::NotEnqueued,
                    Failure::Unknown(_) => AppendError::Unknown,
                })
            }
        }
    }

    pub(in crate::log) fn new_id(&self, at: Timestamp, mint: impl FnMut() -> Uuid) -> Uuid {
        self.placement.new_id(at, mint)
    }

    pub(in crate::log) fn queued(&self) -> (usize, usize) {
        self.producer.queued()
    }

    pub(in crate::log) fn is_reachable(&self) -> bool {
        self.producer.is_reachable()
    }

    pub(in crate::log) fn close(&self) {
        self.producer.close();
    }
}
