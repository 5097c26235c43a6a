//! What every log keeps to. Each back end runs the whole suite.

use std::collections::HashMap;

use uuid::Uuid;

use super::*;
use crate::domain::{Action, Payload, Timestamp};

/// Declares a test for each function of the suite. `$open` opens a new, empty log as
/// `(Appender, Consumer)`.
macro_rules! suite {
    ($open:expr) => {
        $crate::log::contract::suite!($open,
            what_was_appended_comes_out_at_the_position_acknowledged,
            commands_of_a_todo_come_out_in_the_order_of_acknowledgement,
            a_batch_is_whole_and_keeps_its_limits,
        );
    };
    ($open:expr, $($name:ident,)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::log::contract::$name($open).await;
            }
        )+
    };
}
pub(crate) use suite;

/// The limit of a batch that the suite expects of the log it is given.
pub const BATCH_COMMANDS_MAX: usize = 8;

pub fn delete(id: u128) -> Command {
    Command {
        user: "alice".into(),
        at: Timestamp::default(),
        key: None,
        action: Action::Delete {
            id: Uuid::from_u128(id),
            if_match: None,
        },
    }
}

/// Appends all commands at once.
pub fn append_all(
    appender: Appender,
    commands: Vec<Command>,
) -> impl Future<Output = Vec<Position>> {
    let one = move |command| {
        let appender = appender.clone();
        tokio::spawn(async move { appender.append(command).await })
    };
    let tasks: Vec<_> = commands.into_iter().map(one).collect();
    async {
        let mut positions = Vec::new();
        for task in tasks {
            positions.push(task.await.unwrap().unwrap());
        }
        positions
    }
}

/// Takes batches and acknowledges them until it has so many commands. A log that is given out by
/// partition begins at its beginning.
pub async fn drain(mut consumer: Consumer, commands: usize) -> Vec<Batch> {
    let (mut batches, mut taken) = (Vec::new(), 0);
    while taken < commands {
        match consumer.next().await.unwrap() {
            Some(Event::Batch(batch)) => {
                assert!(consumer.owns_batch());
                taken += batch.records.len();
                batches.push(batch);
                consumer.acknowledge();
            }
            Some(Event::Assigned(partitions)) => {
                let from: Vec<Stored> = partitions.into_iter().map(beginning).collect();
                consumer.start(&from).await.unwrap();
            }
            other => panic!("neither a batch nor an assignment: {other:?}"),
        }
    }
    batches
}

pub fn beginning(partition: u16) -> Stored {
    Stored {
        partition,
        next_offset: 0,
        last: None,
    }
}

pub async fn what_was_appended_comes_out_at_the_position_acknowledged(
    (appender, consumer): (Appender, Consumer),
) {
    let commands: Vec<Command> = (0..100).map(delete).collect();
    let drained = tokio::spawn(drain(consumer, commands.len()));
    let positions = append_all(appender, commands.clone()).await;
    let mut records = HashMap::new();
    for record in drained
        .await
        .unwrap()
        .into_iter()
        .flat_map(|one| one.records)
    {
        assert_eq!(records.insert(record.position, record.payload), None);
    }
    for (position, command) in positions.iter().zip(commands) {
        assert_eq!(records.remove(position), Some(Payload::Command(command)));
    }
    assert!(records.is_empty());
}

pub async fn commands_of_a_todo_come_out_in_the_order_of_acknowledgement(
    (appender, consumer): (Appender, Consumer),
) {
    let drained = tokio::spawn(drain(consumer, 20));
    let mut last = None;
    for _ in 0..20 {
        let position = appender.append(delete(1)).await.unwrap();
        let same_partition = |before: Position| before.partition == position.partition;
        assert!(last.is_none_or(same_partition));
        assert!(last < Some(position));
        last = Some(position);
    }
    let batches = drained.await.unwrap();
    let records = || batches.iter().flat_map(|batch| &batch.records);
    assert!(records().is_sorted_by(|one, next| one.position < next.position));
    assert_eq!(records().count(), 20);
}

pub async fn a_batch_is_whole_and_keeps_its_limits((appender, consumer): (Appender, Consumer)) {
    let drained = tokio::spawn(drain(consumer, 50));
    append_all(appender, (0..50).map(delete).collect()).await;
    let mut next = HashMap::<u16, u64>::new();
    for batch in drained.await.unwrap() {
        assert!((1..=BATCH_COMMANDS_MAX).contains(&batch.records.len()));
        for range in &batch.ranges {
            assert!(range.from < range.to);
            let before = next.insert(range.partition, range.to);
            assert!(before.is_none_or(|next| next == range.from));
        }
        for record in &batch.records {
            let Position { partition, offset } = record.position;
            let holds = |range: &&crate::domain::Range| {
                range.partition == partition && (range.from..range.to).contains(&offset)
            };
            assert_eq!(batch.ranges.iter().filter(holds).count(), 1);
        }
    }
}
