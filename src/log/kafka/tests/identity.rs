//! A topic that is not the log the store was fed from stops the worker.

use std::collections::BTreeMap;

use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};

use super::*;
use crate::domain::{Hash128, LastRecord};
use crate::kafka::tests::{admin, delete_topic};

/// Fills the log, takes all of it, and returns where a store would stand.
async fn worked_through(options: &Options) -> Vec<Stored> {
    append(&appender(options), 0..60).await;
    let mut worker = sole_worker(options).await;
    start_all(&mut worker).await;
    let mut stored: BTreeMap<u16, Stored> = (0..PARTITIONS)
        .map(|partition| (partition, beginning(partition)))
        .collect();
    let mut taken = 0;
    while taken < 60 {
        let batch = batch(&mut worker).await;
        taken += batch.records.len();
        for (range, last) in batch.ranges.iter().zip(&batch.last) {
            let one = stored.get_mut(&range.partition).unwrap();
            assert_eq!(one.next_offset, range.from);
            (one.next_offset, one.last) = (range.to, Some(*last));
        }
        worker.acknowledge();
    }
    worker.close();
    assert_eq!(in_time(worker.next()).await, Ok(None));
    stored.into_values().collect()
}

async fn started(options: &Options, from: &[Stored]) -> Result<(), Strange> {
    let mut worker = sole_worker(options).await;
    in_time(worker.start(from)).await
}

fn strange(started: Result<(), Strange>) -> String {
    let Strange(text) = started.unwrap_err();
    text
}

#[tokio::test]
async fn the_log_that_the_store_was_fed_from_is_known_again() {
    let options = prepared().await;
    let stored = worked_through(&options).await;
    assert_eq!(started(&options, &stored).await, Ok(()));
}

#[tokio::test]
async fn another_record_where_the_last_one_stood_is_strange() {
    let options = prepared().await;
    let mut stored = worked_through(&options).await;
    let LastRecord { position, hash } = stored[1].last.unwrap();
    stored[1].last = Some(LastRecord {
        position,
        hash: Hash128(hash.0 ^ 1),
    });
    let text = strange(started(&options, &stored).await);
    assert!(text.contains(&options.topic), "{text}");
    assert!(text.contains(&position.to_string()), "{text}");
}

#[tokio::test]
async fn a_log_that_ends_before_the_position_is_strange() {
    let options = prepared().await;
    let mut stored = worked_through(&options).await;
    stored[2].next_offset += 1;
    let text = strange(started(&options, &stored).await);
    assert!(text.contains("partition 2: ends at"), "{text}");
}

#[tokio::test]
async fn a_log_made_anew_is_strange_also_when_it_is_as_long() {
    let options = prepared().await;
    let stored = worked_through(&options).await;
    delete_topic(&options.cluster, &options.topic).await;
    in_time(async { while prepare(&options).await.is_err() {} }).await;
    let text = strange(started(&options, &stored).await);
    assert!(text.contains("ends at 0"), "{text}");
    append(&appender(&options), 100..400).await;
    let text = strange(started(&options, &stored).await);
    assert!(text.contains("is not the one that was applied"), "{text}");
}

#[tokio::test]
async fn a_log_that_begins_after_the_position_is_strange() {
    let options = prepared().await;
    let stored = worked_through(&options).await;
    let mut list = TopicPartitionList::new();
    for one in &stored {
        let offset = Offset::Offset(i64::try_from(one.next_offset).unwrap());
        let partition = i32::from(one.partition);
        list.add_partition_offset(&options.topic, partition, offset)
            .unwrap();
    }
    let admin = admin(&options.cluster);
    let deleted = admin.delete_records(&list, &AdminOptions::new()).await;
    drop(deleted.unwrap());
    // What was applied may go.
    assert_eq!(started(&options, &stored).await, Ok(()));
    let fresh: Vec<Stored> = (0..PARTITIONS).map(beginning).collect();
    let text = strange(started(&options, &fresh).await);
    assert!(text.contains("begins at"), "{text}");
}

#[tokio::test]
async fn a_log_lost_while_it_is_read_is_strange() {
    let options = prepared().await;
    append(&appender(&options), 0..60).await;
    let mut worker = sole_worker(&options).await;
    start_all(&mut worker).await;
    let mut taken = 0;
    while taken < 60 {
        taken += batch(&mut worker).await.records.len();
        worker.acknowledge();
    }
    delete_topic(&options.cluster, &options.topic).await;
    in_time(async { while prepare(&options).await.is_err() {} }).await;
    // Either the reader finds its place gone, or the group gives the new topic out.
    let strange = in_time(async {
        loop {
            match worker.next().await {
                Err(strange) => return strange,
                Ok(Some(Event::Assigned(partitions))) => {
                    let stand = |partition| Stored {
                        next_offset: 5,
                        ..beginning(partition)
                    };
                    let from: Vec<Stored> = partitions.into_iter().map(stand).collect();
                    if let Err(strange) = worker.start(&from).await {
                        return strange;
                    }
                }
                Ok(other) => assert!(!matches!(other, Some(Event::Batch(_))), "{other:?}"),
            }
        }
    });
    let Strange(text) = strange.await;
    assert!(text.contains(&options.topic), "{text}");
}
