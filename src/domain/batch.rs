//! A batch of the log on its way into a store, and what comes out of it for the feed.

use super::{Change, Changes, Command, Position, Range, Recorded, Timestamp};

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
}

/// What one transaction did to one partition: the record of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub range: Range,
    pub changes: Vec<Change>,
    /// Exceptional outcomes. All other positions of the range are plainly applied.
    pub outcomes: Vec<Recorded>,
}

impl Applied {
    /// Splits what a transaction wrote by partition.
    #[must_use]
    pub fn split(ranges: &[Range], changes: Changes) -> Vec<Self> {
        let empty = |range: &Range| Self {
            range: *range,
            changes: vec![],
            outcomes: vec![],
        };
        let mut parts: Vec<Self> = ranges.iter().map(empty).collect();
        for change in changes.todos {
            if let Some(part) = Self::of(&mut parts, change.partition) {
                part.changes.push(change);
            }
        }
        for outcome in changes.outcomes {
            if let Some(part) = Self::of(&mut parts, outcome.position.partition) {
                part.outcomes.push(outcome);
            }
        }
        parts
    }

    fn of(parts: &mut [Self], partition: u16) -> Option<&mut Self> {
        parts
            .iter_mut()
            .find(|part| part.range.partition == partition)
    }
}
