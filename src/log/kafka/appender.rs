//! The servers' end: a producer of commands.

use std::sync::Arc;

use super::Options;
use crate::domain::{Command, Hash128, Position};
use crate::kafka::{Failure, Limits, Producer, SetupError};
use crate::log::AppendError;

/// Where all claims of gift codes stand: the stock is counted by one owner at a time.
const GIFT_CODES: u16 = 0;

#[derive(Clone)]
pub struct Appender {
    producer: Arc<Producer>,
    partitions: u16,
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
            partitions: options.partitions,
        })
    }

    pub(in crate::log) async fn append(&self, command: Command) -> Result<Position, AppendError> {
        let partition = partition(&command, self.partitions);
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

/// Where a command stands: by the hash of its todo's id, modulo the number of partitions.
///
/// Invariant: the same for every server and every version, or a todo's commands lose their order.
fn partition(command: &Command, partitions: u16) -> u16 {
    let Some(id) = command.todo_id() else {
        return GIFT_CODES;
    };
    let Hash128(hash) = Hash128::of(id.as_bytes());
    u16::try_from(hash % u128::from(partitions.max(1))).expect("a remainder of a u16 is one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Action, Timestamp};
    use crate::log::contract::delete;

    #[test]
    fn a_todo_stays_where_it_always_was() {
        let places: Vec<u16> = (0..8).map(|id| partition(&delete(id), 16)).collect();
        assert_eq!(places, [13, 6, 3, 4, 12, 5, 6, 6]);
    }

    #[test]
    fn todos_spread_over_all_partitions() {
        let mut todos = [0; 16];
        for id in 0..16_000 {
            todos[usize::from(partition(&delete(id), 16))] += 1;
        }
        assert!(todos.iter().all(|todos| (850..1_150).contains(todos)));
    }

    #[test]
    fn gift_codes_have_one_partition() {
        let claim = |user: &str| Command {
            user: user.into(),
            at: Timestamp::default(),
            key: None,
            action: Action::ClaimGiftCode { code: user.into() },
        };
        assert_eq!(partition(&claim("alice"), 16), GIFT_CODES);
        assert_eq!(partition(&claim("bob"), 16), GIFT_CODES);
    }
}
