//! The feed on the real Kafka, and what its readers are told when it is not what it was.

use super::*;
use uuid::Uuid;

use crate::domain::{Applied, Change, DeadLetter, Fold, Loaded, Position, Range, Timestamp, Todo};
use crate::feed::contract::{applied, suite, taken};
use crate::feed::{End, PublishError, Publisher as Port, Subscriber as Ports, record_bytes_max};
use crate::kafka::tests::{DURABILITY, cluster, delete_topic, in_time, topic};
use crate::kafka::{Limits, Producer};

fn options() -> Options {
    Options {
        cluster: cluster(),
        topic: topic(),
        durability: DURABILITY,
        record_bytes_max: 2 << 20,
    }
}

async fn open_with(options: &Options) -> (Port, Ports) {
    prepare(options).await.unwrap();
    (
        Port::Kafka(Publisher::open(options).unwrap()),
        Ports::Kafka(Subscriber::open(options)),
    )
}

async fn open() -> (Port, Ports) {
    open_with(&options()).await
}

suite!(open().await);

async fn lost(subscriber: &mut Ports) -> String {
    match in_time(subscriber.next()).await {
        Err(End::Lost(reason)) => reason,
        other => panic!("not lost: {other:?}"),
    }
}

#[tokio::test]
async fn what_was_published_before_the_end_is_not_handed_out() {
    let (mut publisher, mut subscriber) = open().await;
    publisher.publish(vec![applied(0)]).await.unwrap();
    subscriber.seek_to_end().await;
    publisher.publish(vec![applied(1)]).await.unwrap();
    assert_eq!(taken(&mut subscriber).await, [1]);
    publisher.publish(vec![applied(2)]).await.unwrap();
    subscriber.seek_to_end().await;
    publisher.publish(vec![applied(3)]).await.unwrap();
    assert_eq!(taken(&mut subscriber).await, [3]);
}

#[tokio::test]
async fn more_than_may_be_under_way_at_once_is_published() {
    let (mut publisher, mut subscriber) = open().await;
    subscriber.seek_to_end().await;
    publisher
        .publish((0..5_000).map(applied).collect())
        .await
        .unwrap();
    let mut next = 0;
    while next < 5_000 {
        for from in taken(&mut subscriber).await {
            assert_eq!(from, next);
            next += 1;
        }
    }
}

#[tokio::test]
async fn a_reader_that_never_went_to_the_end_is_lost() {
    let (_publisher, mut subscriber) = open().await;
    lost(&mut subscriber).await;
}

#[tokio::test]
async fn what_is_no_record_of_the_feed_loses_the_place_until_the_next_seek() {
    let options = options();
    let (mut publisher, mut subscriber) = open_with(&options).await;
    subscriber.seek_to_end().await;
    publisher.publish(vec![applied(0)]).await.unwrap();
    let limits = Limits {
        queue_records_max: 1,
        queue_bytes_max: 1_000,
        record_bytes_max: 100,
        linger: Duration::ZERO,
    };
    let foreign = Producer::open(&options.cluster, &options.topic, limits).unwrap();
    let delivery = foreign.send(0, b"not a record of the feed").unwrap();
    delivery.done().await.unwrap();
    publisher.publish(vec![applied(1)]).await.unwrap();
    assert_eq!(taken(&mut subscriber).await, [0]);
    assert!(lost(&mut subscriber).await.starts_with("at 1: "));
    lost(&mut subscriber).await;
    subscriber.seek_to_end().await;
    publisher.publish(vec![applied(2)]).await.unwrap();
    assert_eq!(taken(&mut subscriber).await, [2]);
}

#[tokio::test]
async fn a_feed_made_anew_loses_the_place() {
    let options = options();
    let (mut publisher, mut subscriber) = open_with(&options).await;
    publisher
        .publish((0..10).map(applied).collect())
        .await
        .unwrap();
    subscriber.seek_to_end().await;
    delete_topic(&options.cluster, &options.topic).await;
    in_time(async { while prepare(&options).await.is_err() {} }).await;
    lost(&mut subscriber).await;
    subscriber.seek_to_end().await;
    let mut publisher = Port::Kafka(Publisher::open(&options).unwrap());
    publisher.publish(vec![applied(7)]).await.unwrap();
    assert_eq!(taken(&mut subscriber).await, [7]);
}

#[tokio::test]
async fn without_a_broker_publishing_fails_in_time() {
    let options = Options {
        cluster: Cluster {
            brokers: "127.0.0.1:1".to_owned(),
        },
        ..options()
    };
    let mut publisher = Port::Kafka(Publisher::open(&options).unwrap());
    let told = in_time(publisher.publish(vec![applied(0)])).await;
    assert!(matches!(told, Err(PublishError::Again(_))), "{told:?}");
}

#[test]
fn a_batch_of_the_smallest_commands_fits() {
    let at = Timestamp::from_micros(i64::MAX);
    let todo = Todo {
        id: Uuid::max(),
        title: "t".into(),
        description: String::new(),
        completed: false,
        user_id: "u".into(),
        created_at: at,
        updated_at: at,
    };
    let change = Change {
        id: todo.id,
        partition: u16::MAX,
        was: Some(at),
        now: Some(todo),
    };
    let range = Range {
        partition: u16::MAX,
        from: u64::MAX - 1,
        to: u64::MAX,
    };
    let applied = Applied::split(&[range], &vec![change; 100], &[]).remove(0);
    // Not even the bytes of the commands are needed for what is the same for all.
    assert!(applied.encode().len() <= record_bytes_max(100, 0));
}

#[test]
fn a_batch_of_dead_letters_fits_whatever_their_reasons_quote() {
    let mut fold = Fold::new(Loaded::default(), 0);
    for offset in u64::MAX - 100..u64::MAX {
        fold.bury(DeadLetter {
            position: Position {
                partition: u16::MAX,
                offset,
            },
            user: String::new(),
            reason: "\u{300}".repeat(100_000),
            payload: vec![],
        });
    }
    let changes = fold.finish();
    let range = Range {
        partition: u16::MAX,
        from: u64::MAX - 100,
        to: u64::MAX,
    };
    let applied = Applied::split(&[range], &[], &changes.outcomes).remove(0);
    assert_eq!(applied.outcomes.len(), 100);
    assert!(applied.encode().len() <= record_bytes_max(100, 0));
}
