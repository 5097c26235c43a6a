//! The port to the log of commands: what is acknowledged here is durable.
//!
//! Servers hold an [`Appender`], the worker holds the one [`Consumer`]. A command is acknowledged
//! with its position once it can no longer be lost; whoever gets an error is told whether the
//! command may still take effect.

#[cfg(test)]
mod contract;
pub mod embedded;
pub mod kafka;

use std::time::Duration;

use uuid::Uuid;

use crate::clock::Stopwatch;
use crate::domain::{Batch, Command, Position, Stored, Timestamp};

/// Limits of a log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Commands that may wait; one more is refused at once. About a tenth of a second of SQLite's work.
    pub queue_commands_max: usize,
    /// Bytes that these commands may hold in memory, about; more is refused at once.
    pub queue_bytes_max: usize,
    /// Commands of a batch. Beyond some thousands a commit's fixed cost no longer shows, while
    /// the first of the batch would wait for the last.
    pub batch_commands_max: usize,
    /// Bytes of a batch, about. A command that is larger comes alone.
    pub batch_bytes_max: usize,
    /// How long after the batch before it one that is not full waits for more: who writes alone
    /// waits for nothing. Zero: while one batch is committed the next one gathers, and no more.
    /// `None`: a log in memory finds out what pays; over Kafka it is zero.
    pub linger: Option<Duration>,
}

impl Options {
    pub const DEFAULT: Self = Self {
        queue_commands_max: 16_384,
        queue_bytes_max: 64 << 20,
        batch_commands_max: 4_096,
        batch_bytes_max: 8 << 20,
        linger: Some(Duration::ZERO),
    };
}

impl Default for Options {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Which batch may go, full or not.
struct Linger {
    time: Duration,
    since: Option<Stopwatch>,
}

impl Linger {
    fn new(time: Duration) -> Self {
        Self { time, since: None }
    }

    /// A batch goes.
    fn begin(&mut self) {
        self.since = (!self.time.is_zero()).then(Stopwatch::start);
    }

    /// How long the next one waits for more.
    fn left(&self) -> Duration {
        let spent = |since: Stopwatch| self.time.saturating_sub(since.elapsed());
        self.since.map_or(Duration::ZERO, spent)
    }
}

/// Why a command was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// It has no effect and never will have: sending it again is safe.
    #[error("the command was not enqueued")]
    NotEnqueued,
    /// It may or may not take effect: sending it again is safe only with an idempotency key.
    #[error("nobody can say whether the command was enqueued")]
    Unknown,
}

/// What the log hands its consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// These partitions are this consumer's from now on. Nothing of them is handed out before
    /// [`Consumer::start`] says where to begin.
    Assigned(Vec<u16>),
    /// These partitions are this consumer's no longer; others go on with them from where the
    /// store stands.
    Revoked(Vec<u16>),
    Batch(Batch),
}

/// The log is not the one that the store was fed from. Whoever goes on would lose or repeat
/// commands, so the consumer stops, loudly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Strange(pub String);

/// The servers' end of the log.
#[derive(Clone)]
pub enum Appender {
    Embedded(embedded::Appender),
    Kafka(kafka::Appender),
}

impl Appender {
    /// An id for a todo that is created at `at`: one of those that `mint` gives, by which its command
    /// travels with others of that time.
    #[must_use]
    pub fn new_id(&self, at: Timestamp, mut mint: impl FnMut() -> Uuid) -> Uuid {
        match self {
            Self::Embedded(_) => mint(),
            Self::Kafka(appender) => appender.new_id(at, mint),
        }
    }

    /// Appends a command and waits until it is durable.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the command back.
    pub async fn append(&self, command: Command) -> Result<Position, AppendError> {
        match self {
            Self::Embedded(appender) => appender.append(command).await,
            Self::Kafka(appender) => appender.append(command).await,
        }
    }

    /// Commands, and about how many bytes of them, that are not durable yet.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        match self {
            Self::Embedded(appender) => appender.queued(),
            Self::Kafka(appender) => appender.queued(),
        }
    }

    /// Whether a command could be made durable now, as far as is known without trying.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        match self {
            Self::Embedded(_) => true,
            Self::Kafka(appender) => appender.is_reachable(),
        }
    }

    /// Takes no more commands from any appender; those that wait are still made durable. Alone,
    /// the consumer ends after them.
    pub fn close(&self) {
        match self {
            Self::Embedded(appender) => appender.close(),
            Self::Kafka(appender) => appender.close(),
        }
    }
}

/// The worker's end of the log. Alone, dropped with a batch handed out, it leaves that batch's
/// appenders `Unknown` and those queued behind `NotEnqueued`.
pub enum Consumer {
    Embedded(embedded::Consumer),
    Kafka(kafka::Consumer),
    #[cfg(test)]
    Scripted(crate::worker::tests::world::Consumer),
}

impl Consumer {
    /// What comes next; a batch is what waits, up to the limits of a batch. `None` once closed
    /// and drained. The batch handed out before must have been acknowledged or refused, or be
    /// one that [`Consumer::has_more`] lets wait.
    ///
    /// # Errors
    /// [`Strange`]: the topic is not the log that the store was fed from.
    ///
    /// # Cancel safety
    /// Nothing is taken before the future is ready.
    pub async fn next(&mut self) -> Result<Option<Event>, Strange> {
        match self {
            Self::Embedded(consumer) => Ok(consumer.next().await.map(Event::Batch)),
            Self::Kafka(consumer) => consumer.next().await,
            #[cfg(test)]
            Self::Scripted(consumer) => consumer.next().await,
        }
    }

    /// Whether a batch waits that may be taken before the one handed out last is acknowledged. Alone
    /// none may: its appenders wait for that.
    #[must_use]
    pub fn has_more(&self) -> bool {
        match self {
            Self::Embedded(_) => false,
            Self::Kafka(consumer) => consumer.has_more(),
            #[cfg(test)]
            Self::Scripted(consumer) => consumer.has_more(),
        }
    }

    /// Begins, or begins again, to hand out partitions at the positions where the store stands.
    /// What was handed out of them before and not acknowledged is forgotten. A partition that is
    /// not this consumer's any more is passed over.
    ///
    /// # Errors
    /// [`Strange`]: the log begins after a position, ends before it, or has another record there.
    pub async fn start(&mut self, from: &[Stored]) -> Result<(), Strange> {
        match self {
            Self::Embedded(consumer) => consumer.start(from),
            Self::Kafka(consumer) => consumer.start(from).await,
            #[cfg(test)]
            Self::Scripted(consumer) => consumer.start(from),
        }
    }

    /// Whether all partitions of the batch handed out last are still this consumer's.
    #[must_use]
    pub fn owns_batch(&self) -> bool {
        match self {
            Self::Embedded(_) => true,
            Self::Kafka(consumer) => consumer.owns_batch(),
            #[cfg(test)]
            Self::Scripted(consumer) => consumer.owns_batch(),
        }
    }

    /// The batch handed out last is applied: its appenders, if they still wait, get their
    /// positions.
    pub fn acknowledge(&mut self) {
        match self {
            Self::Embedded(consumer) => consumer.acknowledge(),
            Self::Kafka(consumer) => consumer.acknowledge(),
            #[cfg(test)]
            Self::Scripted(consumer) => consumer.acknowledge(),
        }
    }

    /// The batch handed out last failed: appenders that still wait get `error`. A log that has
    /// acknowledged already keeps the batch: `false`, and the caller goes on trying.
    pub fn refuse(&mut self, error: AppendError) -> bool {
        match self {
            Self::Embedded(consumer) => {
                consumer.refuse(error);
                true
            }
            Self::Kafka(_) => false,
            #[cfg(test)]
            Self::Scripted(_) => false,
        }
    }

    /// Commands that were acknowledged and are not applied, in the partitions of this consumer and
    /// a moment ago. Alone nothing is acknowledged before it is applied.
    #[must_use]
    pub fn lag(&self) -> u64 {
        match self {
            Self::Embedded(_) => 0,
            Self::Kafka(consumer) => consumer.lag(),
            #[cfg(test)]
            Self::Scripted(_) => 0,
        }
    }

    /// Gives all partitions to others, until [`Consumer::join`]: this one cannot work now.
    pub fn leave(&mut self) {
        match self {
            Self::Embedded(_) => {}
            Self::Kafka(consumer) => consumer.leave(),
            #[cfg(test)]
            Self::Scripted(consumer) => consumer.leave(),
        }
    }

    pub fn join(&mut self) {
        match self {
            Self::Embedded(_) => {}
            Self::Kafka(consumer) => consumer.join(),
            #[cfg(test)]
            Self::Scripted(consumer) => consumer.join(),
        }
    }

    /// Takes no more commands; those that wait get `NotEnqueued`. A log that others go on with is
    /// left.
    pub fn close(&mut self) {
        match self {
            Self::Embedded(consumer) => consumer.close(),
            Self::Kafka(consumer) => consumer.close(),
            #[cfg(test)]
            Self::Scripted(consumer) => consumer.close(),
        }
    }
}
