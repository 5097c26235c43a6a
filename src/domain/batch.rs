//! A batch of the log on its way into a store.

use super::{Command, Hash128, Position, Range, Timestamp};

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub position: Position,
    /// When the log took the record: idempotency keys expire by this.
    pub appended_at: Timestamp,
    pub payload: Payload,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Command(Command),
    /// Bytes that are no command, or a command a store refused: they become a dead letter.
    Poison {
        user: String,
        bytes: Vec<u8>,
        reason: String,
    },
}

/// Records of one or more partitions, applied in one transaction.
///
/// Invariant: each partition that has a record has exactly one range, the ranges are not empty,
/// and every record lies in the range of its partition. Records of one partition are in order.
/// Offsets may be missing inside a range (a log keeps markers of its own).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub ranges: Vec<Range>,
    pub records: Vec<Record>,
    /// The last record of each range, where the log is kept apart from the store: by it the store
    /// can tell later whether it meets the same log again.
    pub last: Vec<LastRecord>,
}

/// A record by which a log is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRecord {
    pub position: Position,
    /// Of the record's bytes.
    pub hash: Hash128,
}

/// How far a partition is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub partition: u16,
    /// The next offset to apply.
    pub next_offset: u64,
    /// The last record that was applied, where the log is kept apart from the store.
    pub last: Option<LastRecord>,
}
