//! The buffer keeps batches whole, within limits and of what is owned.

use super::*;
use crate::domain::{Payload, Timestamp};
use crate::log::contract::delete;

fn buffer() -> Buffer {
    Buffer::new(Limits {
        batch_commands_max: 4,
        batch_bytes_max: 100,
        ..Limits::DEFAULT
    })
}

fn fetched(partition: u16, offset: u64, bytes: usize) -> Fetched {
    Fetched {
        record: Record {
            position: Position { partition, offset },
            appended_at: Timestamp::default(),
            payload: Payload::Command(delete(1)),
        },
        bytes,
        hash: Hash128(u128::from(offset)),
    }
}

/// A buffer that owns partitions 1 and 2, which begin at 10 and 20.
fn begun() -> Buffer {
    let mut buffer = buffer();
    buffer.assign(&[1, 2]);
    for (partition, offset) in [(1, 10), (2, 20)] {
        let term = buffer.term(partition).unwrap();
        buffer.begin(partition, term, offset);
    }
    buffer
}

fn ranges(batch: &Batch) -> Vec<(u16, u64, u64)> {
    let ranges = batch.ranges.iter();
    ranges
        .map(|range| (range.partition, range.from, range.to))
        .collect()
}

#[test]
fn ranges_begin_where_the_last_ended_whatever_offsets_are_missing() {
    let mut buffer = begun();
    for (partition, offset) in [(1, 12), (2, 20), (1, 15), (2, 21), (1, 16)] {
        buffer.push(fetched(partition, offset, 1));
    }
    let (batch, _) = buffer.take().unwrap();
    assert_eq!(ranges(&batch), [(1, 10, 16), (2, 20, 22)]);
    let last: Vec<u64> = batch.last.iter().map(|last| last.position.offset).collect();
    assert_eq!(last, [15, 21]);
    assert_eq!(batch.last[0].hash, Hash128(15));
    let (batch, _) = buffer.take().unwrap();
    assert_eq!(ranges(&batch), [(1, 16, 17)]);
    assert!(buffer.take().is_none());
}

#[test]
fn a_batch_keeps_its_bytes_and_a_large_record_comes_alone() {
    let mut buffer = begun();
    for (offset, bytes) in [(10, 60), (11, 60), (12, 500), (13, 40), (14, 60)] {
        buffer.push(fetched(1, offset, bytes));
    }
    let mut sizes = Vec::new();
    while let Some((batch, _)) = buffer.take() {
        sizes.push(batch.records.len());
    }
    assert_eq!(sizes, [1, 1, 1, 2]);
    assert!(buffer.is_empty() && !buffer.is_full());
}

#[test]
fn what_is_not_owned_has_not_begun_or_is_here_already_is_dropped() {
    let mut buffer = begun();
    buffer.push(fetched(3, 0, 1));
    buffer.push(fetched(1, 9, 1));
    buffer.push(fetched(1, 10, 1));
    buffer.push(fetched(1, 10, 1));
    buffer.halt(2);
    buffer.push(fetched(2, 20, 1));
    let (batch, _) = buffer.take().unwrap();
    assert_eq!(ranges(&batch), [(1, 10, 11)]);
    assert_eq!(batch.records.len(), 1);
}

#[test]
fn a_revoked_partition_given_back_is_another_term() {
    let mut buffer = begun();
    buffer.push(fetched(1, 10, 1));
    let term = buffer.term(1).unwrap();
    let mut revoked = buffer.revoke();
    revoked.sort_unstable();
    assert_eq!(revoked, [1, 2]);
    assert!(buffer.is_empty() && !buffer.is_owned(1, term));
    buffer.assign(&[1]);
    assert!(!buffer.is_owned(1, term));
    // What was asked for in the old term does not begin the new one.
    buffer.begin(1, term, 10);
    assert_eq!(buffer.begun().count(), 0);
}

#[test]
fn begun_again_what_waited_is_forgotten() {
    let mut buffer = begun();
    for offset in 10..13 {
        buffer.push(fetched(1, offset, 1));
    }
    buffer.push(fetched(2, 20, 1));
    buffer.halt(1);
    let term = buffer.term(1).unwrap();
    buffer.begin(1, term, 5);
    assert_eq!(buffer.begun().collect::<Vec<_>>(), [(1, 5), (2, 21)]);
    buffer.push(fetched(1, 5, 1));
    let (batch, _) = buffer.take().unwrap();
    assert_eq!(ranges(&batch), [(2, 20, 21), (1, 5, 6)]);
}

#[test]
fn it_is_full_at_four_batches() {
    let mut buffer = begun();
    for offset in 10..25 {
        buffer.push(fetched(1, offset, 1));
        assert!(!buffer.is_full());
    }
    buffer.push(fetched(1, 25, 1));
    assert!(buffer.is_full() && buffer.fills_a_batch());
    for _ in 0..3 {
        buffer.take().unwrap();
    }
    assert!(!buffer.is_full() && buffer.fills_a_batch());
    buffer.take().unwrap();
    assert!(!buffer.fills_a_batch());
}
