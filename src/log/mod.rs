//! The port to the log of commands: what is acknowledged here is durable.
//!
//! Servers hold an [`Appender`], the worker holds the one [`Consumer`]. A command is acknowledged
//! with its position once it can no longer be lost; whoever gets an error is told whether the
//! command may still take effect.

#[cfg(test)]
mod contract;
pub mod embedded;

use std::time::Duration;

use crate::domain::{Batch, Command, Position};

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
    /// How long a batch that is not full waits for more. Zero: while one batch is committed the
    /// next one gathers, which groups enough.
    pub linger: Duration,
}

impl Options {
    pub const DEFAULT: Self = Self {
        queue_commands_max: 16_384,
        queue_bytes_max: 64 << 20,
        batch_commands_max: 4_096,
        batch_bytes_max: 8 << 20,
        linger: Duration::ZERO,
    };
}

impl Default for Options {
    fn default() -> Self {
        Self::DEFAULT
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

/// The servers' end of the log.
#[derive(Clone)]
pub enum Appender {
    Embedded(embedded::Appender),
}

impl Appender {
    /// Appends a command and waits until it is durable.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the command back.
    pub async fn append(&self, command: Command) -> Result<Position, AppendError> {
        match self {
            Self::Embedded(appender) => appender.append(command).await,
        }
    }

    /// Commands, and about how many bytes of them, that wait to be handed out.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        match self {
            Self::Embedded(appender) => appender.queued(),
        }
    }

    /// Takes no more commands from any appender; those that wait are still handed out, then the
    /// consumer ends.
    pub fn close(&self) {
        match self {
            Self::Embedded(appender) => appender.close(),
        }
    }
}

/// The worker's end of the log. Dropped with a batch handed out, it leaves that batch's
/// appenders `Unknown` and those queued behind `NotEnqueued`.
pub enum Consumer {
    Embedded(embedded::Consumer),
}

#[expect(clippy::unused_async, reason = "other logs wait for a network here")]
impl Consumer {
    /// What waits, up to the limits of a batch; `None` once closed and drained. The batch handed
    /// out before must have been acknowledged or refused, else it is settled as `Unknown`.
    ///
    /// # Cancel safety
    /// Nothing is taken before the future is ready.
    pub async fn next(&mut self) -> Option<Batch> {
        match self {
            Self::Embedded(consumer) => consumer.next().await,
        }
    }

    /// The batch handed out last is applied: its appenders get their positions.
    pub async fn acknowledge(&mut self) {
        match self {
            Self::Embedded(consumer) => consumer.acknowledge(),
        }
    }

    /// The batch handed out last failed: its appenders get `error`.
    pub async fn refuse(&mut self, error: AppendError) {
        match self {
            Self::Embedded(consumer) => consumer.refuse(error),
        }
    }

    /// Takes no more commands; those that wait get `NotEnqueued`.
    pub fn close(&mut self) {
        match self {
            Self::Embedded(consumer) => consumer.close(),
        }
    }
}
