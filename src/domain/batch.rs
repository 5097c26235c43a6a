//! A batch of the log on its way into a store, and what comes out of it for the feed.

use serde::{Deserialize, Serialize};

use super::{Change, Changes, Command, Hash128, Position, Range, Recorded, Timestamp};

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

/// The version of a feed record's encoding that this program writes and the only one it reads.
const VERSION: u8 = 1;

/// Why bytes of a feed are no record of it: another program wrote them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record of the feed: {0}")]
pub struct NotApplied(String);

/// What one transaction did to one partition: the record of the feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

    /// The bytes that go into an outbox and a feed: JSON, with a version in front.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Borrowed<'a> {
            v: u8,
            applied: &'a Applied,
        }
        serde_json::to_vec(&Borrowed {
            v: VERSION,
            applied: self,
        })
        .expect("what was applied serialises")
    }

    /// Reads the bytes of a feed record; parsing reuses `json` as its scratch space.
    ///
    /// # Errors
    /// [`NotApplied`] where this program cannot have written the bytes.
    pub fn decode(json: &mut [u8]) -> Result<Self, NotApplied> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Versioned {
            v: u8,
            applied: Applied,
        }
        let Versioned { v, applied } =
            simd_json::serde::from_slice(json).map_err(|error| NotApplied(error.to_string()))?;
        if v != VERSION {
            let text = format!("version {v} is unknown; this program reads version {VERSION}");
            return Err(NotApplied(text));
        }
        Ok(applied)
    }

    fn of(parts: &mut [Self], partition: u16) -> Option<&mut Self> {
        parts
            .iter_mut()
            .find(|part| part.range.partition == partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Outcome, Todo};
    use proptest::prelude::*;
    use uuid::Uuid;

    proptest! {
        #[test]
        fn bytes_and_back_is_the_same(title in ".{1,20}", from in 0..u64::MAX / 2, offset in any::<u32>(), gone in any::<bool>()) {
            let id = Uuid::from_u128(u128::from(offset));
            let todo = Todo {
                id,
                title: title.clone(),
                description: title.clone(),
                completed: gone,
                user_id: title.clone(),
                created_at: Timestamp::from_micros(i64::from(offset)),
                updated_at: Timestamp::from_micros(5),
            };
            let applied = Applied {
                range: Range { partition: 3, from, to: from + 1 },
                changes: vec![Change {
                    id,
                    partition: 3,
                    was: gone.then_some(todo.created_at),
                    now: (!gone).then_some(todo),
                }],
                outcomes: vec![Recorded {
                    position: Position { partition: 3, offset: from },
                    user: title.clone(),
                    outcome: Outcome::Dead(title),
                }],
            };
            prop_assert_eq!(Applied::decode(&mut applied.encode()), Ok(applied));
        }
    }

    #[test]
    fn another_version_is_refused() {
        let empty = Applied {
            range: Range {
                partition: 0,
                from: 0,
                to: 1,
            },
            changes: vec![],
            outcomes: vec![],
        };
        let text = String::from_utf8(empty.encode()).unwrap();
        let mut other = text.replacen("\"v\":1", "\"v\":2", 1).into_bytes();
        let refused = Applied::decode(&mut other).unwrap_err();
        assert!(refused.to_string().contains("version 2"), "{refused}");
    }
}
