//! What comes out: again after a rewind, held back while nobody takes it, poison as poison.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::*;
use crate::clock::Stopwatch;
use crate::domain::{Hash128, Payload, Timestamp};
use crate::kafka::{Limits, Producer};

/// Takes so many records, and where they stand, in order by partition.
async fn positions(worker: &mut Worker, records: usize) -> Vec<Position> {
    let mut positions = Vec::new();
    while positions.len() < records {
        let batch = batch(worker).await;
        positions.extend(batch.records.iter().map(|record| record.position));
        worker.acknowledge();
    }
    positions
}

fn sorted(mut positions: Vec<Position>) -> Vec<Position> {
    positions.sort_unstable();
    positions
}

async fn a_rewind_hands_out_exactly_what_follows(options: Options) {
    let all = sorted(append(&appender(&options), 0..100).await);
    let mut worker = sole_worker(&options).await;
    start_all(&mut worker).await;
    // While some wait in the buffer and some are on their way.
    for taken in [1, 30, 100] {
        positions(&mut worker, taken).await;
        let from: Vec<Stored> = (0..PARTITIONS)
            .map(|partition| Stored {
                partition,
                next_offset: u64::from(partition) + 3,
                last: None,
            })
            .collect();
        worker.start(&from).await.unwrap();
        let mut expected = all.clone();
        expected.retain(|at| at.offset >= u64::from(at.partition) + 3);
        let again = sorted(positions(&mut worker, expected.len()).await);
        assert_eq!(again, expected);
        start_all(&mut worker).await;
    }
}

#[tokio::test]
async fn a_rewind_hands_out_exactly_what_follows_in_process() {
    let (_mock, options) = mocked();
    a_rewind_hands_out_exactly_what_follows(options).await;
}

#[tokio::test]
async fn a_rewind_hands_out_exactly_what_follows_on_the_real_one() {
    a_rewind_hands_out_exactly_what_follows(prepared().await).await;
}

#[tokio::test]
async fn one_partition_may_begin_again_while_others_go_on() {
    let options = prepared().await;
    let appended = append(&appender(&options), 0..200).await;
    let mut worker = sole_worker(&options).await;
    start_all(&mut worker).await;
    positions(&mut worker, 20).await;
    let Worker::Kafka(_) = &worker else {
        panic!("a worker of the fleet")
    };
    let mut next = vec![0; usize::from(PARTITIONS)];
    worker.start(&[beginning(1)]).await.unwrap();
    // From here on partition 1 comes whole, and the others without a gap.
    let mut seen = vec![Vec::new(); usize::from(PARTITIONS)];
    let end = |partition: usize| {
        let of = |at: &&Position| usize::from(at.partition) == partition;
        appended.iter().filter(of).count() as u64
    };
    while (0..usize::from(PARTITIONS)).any(|partition| next[partition] < end(partition)) {
        let batch = batch(&mut worker).await;
        for record in &batch.records {
            let partition = usize::from(record.position.partition);
            seen[partition].push(record.position.offset);
            next[partition] = record.position.offset + 1;
        }
        worker.acknowledge();
    }
    assert!(seen[1].iter().copied().eq(0..end(1)));
    for offsets in seen {
        assert!(offsets.windows(2).all(|two| two[0] + 1 == two[1]));
    }
}

#[tokio::test]
async fn what_nobody_takes_is_held_back_and_nothing_of_it_is_lost() {
    let options = prepared().await;
    let appended = append(&appender(&options), 0..2_000).await;
    let mut worker = sole_worker(&options).await;
    start_all(&mut worker).await;
    let Worker::Kafka(consumer) = &worker else {
        panic!("a worker of the fleet")
    };
    in_time(async {
        while !consumer.is_full() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // A little more may come between the last look and the pause, but not all.
    assert!(consumer.waiting() <= 5 * BATCH_COMMANDS_MAX);
    let taken = positions(&mut worker, 2_000).await;
    for partition in 0..PARTITIONS {
        let of = |at: &&Position| at.partition == partition;
        assert!(taken.iter().filter(of).is_sorted());
    }
    assert_eq!(sorted(taken), sorted(appended));
}

#[tokio::test]
async fn what_is_no_command_is_poison_and_its_neighbours_are_not() {
    let options = prepared().await;
    let appender = appender(&options);
    let limits = Limits {
        queue_records_max: 100,
        queue_bytes_max: 10 << 20,
        record_bytes_max: 1 << 20,
        linger: Duration::ZERO,
    };
    let foreign = Producer::open(&options.cluster, &options.topic, limits).unwrap();
    let command = String::from_utf8(delete(1).encode()).unwrap();
    let long = "x".repeat(500_000);
    let payloads = [
        String::new(),
        "not JSON".to_owned(),
        command.replacen("\"v\":1", "\"v\":2", 1),
        command.replacen("alice", "al\\u0000ice", 1),
        command.replacen("alice", &long, 1),
        long,
        "\0".to_owned(),
    ];
    append(&appender, 0..10).await;
    for payload in &payloads {
        let delivery = foreign.send(0, payload.as_bytes()).unwrap();
        delivery.done().await.unwrap();
    }
    append(&appender, 10..20).await;

    let mut worker = sole_worker(&options).await;
    start_all(&mut worker).await;
    let (mut commands, mut poison) = (0, Vec::new());
    while commands + poison.len() < 20 + payloads.len() {
        for record in batch(&mut worker).await.records {
            assert!(record.appended_at > Timestamp::default());
            match record.payload {
                Payload::Command(_) => commands += 1,
                Payload::Poison { user, bytes, .. } => poison.push((user, bytes)),
            }
        }
        worker.acknowledge();
    }
    assert_eq!(commands, 20);
    let bytes: Vec<&[u8]> = poison.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    assert_eq!(bytes, payloads.each_ref().map(String::as_bytes));
    let users: Vec<&str> = poison.iter().map(|(user, _)| user.as_str()).collect();
    // The user of a later version's command can be told; the others' not, or are none.
    assert_eq!(users, ["", "", "alice", "", "", "", ""]);
}

#[tokio::test]
async fn a_batch_says_which_record_was_its_last() {
    let (_mock, options) = mocked();
    append(&appender(&options), 0..20).await;
    let mut worker = sole_worker(&options).await;
    start_all(&mut worker).await;
    let batch = batch(&mut worker).await;
    assert_eq!(batch.last.len(), batch.ranges.len());
    for (range, last) in batch.ranges.iter().zip(&batch.last) {
        let expected = Position {
            partition: range.partition,
            offset: range.to - 1,
        };
        assert_eq!(last.position, expected);
        let mut records = batch.records.iter().rev();
        let record = records.find(|record| record.position == expected).unwrap();
        let Payload::Command(command) = &record.payload else {
            panic!("{record:?}")
        };
        assert_eq!(last.hash, Hash128::of(&command.encode()));
    }
}

#[tokio::test]
async fn without_a_broker_appending_fails_in_time_and_reading_waits() {
    let (mock, options) = mocked();
    let appender = appender(&options);
    append(&appender, 0..1).await;
    let mut worker = sole_worker(&options).await;
    start_all(&mut worker).await;
    batch(&mut worker).await;
    mock.broker_down(-1).unwrap();
    let watch = Stopwatch::start();
    let told = in_time(appender.append(delete(1))).await;
    assert_eq!(told, Err(AppendError::Unknown));
    assert!(watch.elapsed() < Duration::from_secs(6));
    let told = in_time(appender.append(delete(2))).await;
    assert_eq!(told, Err(AppendError::NotEnqueued));
    mock.broker_up(-1).unwrap();
    let acknowledged = in_time(async {
        loop {
            match appender.append(delete(3)).await {
                Ok(position) => return position,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    // Revoked and assigned anew or not, it goes on.
    loop {
        match event(&mut worker).await {
            Event::Assigned(_) => start_all(&mut worker).await,
            Event::Revoked(_) => {}
            Event::Batch(batch) => {
                worker.acknowledge();
                if batch.records.iter().any(|one| one.position == acknowledged) {
                    return;
                }
            }
        }
    }
}

#[tokio::test]
async fn new_todos_of_one_moment_travel_together() {
    let (_mock, options) = mocked();
    let servers = appender(&options);
    let mut next = 0;
    let mut new_id = || {
        let mint = || {
            next += 1;
            Uuid::from_u128(next)
        };
        servers.new_id(Timestamp::from_micros(7), mint).as_u128()
    };
    let ids: Vec<u128> = (0..30).map(|_| new_id()).collect();
    let positions = append(&servers, ids).await;
    let partitions: BTreeSet<u16> = positions.iter().map(|at| at.partition).collect();
    assert_eq!((positions.len(), partitions.len()), (30, 1));
}
