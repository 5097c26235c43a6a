//! The log on the real Kafka, and on a cluster in this process: who owns what, what is handed out
//! again, and which topics are not the log that the store was fed from.

mod group;
mod identity;
mod records;

use super::*;
use crate::domain::{Batch, Position, Stored};
use crate::kafka::tests::{DURABILITY, Mock, cluster, in_time, mock, topic};
use crate::log::contract::{BATCH_COMMANDS_MAX, beginning, delete, suite};
use crate::log::{AppendError, Appender as Servers, Consumer as Worker, Event, Strange};

const PARTITIONS: u16 = 3;

fn limits() -> Limits {
    Limits {
        batch_commands_max: BATCH_COMMANDS_MAX,
        ..Limits::DEFAULT
    }
}

fn options(cluster: Cluster) -> Options {
    Options {
        cluster,
        topic: topic(),
        partitions: PARTITIONS,
        durability: DURABILITY,
        record_bytes_max: 1 << 20,
        linger: Duration::from_millis(1),
        limits: limits(),
    }
}

fn appender(options: &Options) -> Servers {
    Servers::Kafka(Appender::open(options).unwrap())
}

fn worker(options: &Options) -> Worker {
    Worker::Kafka(Consumer::open(options).unwrap())
}

/// Options of a topic on a cluster in this process.
fn mocked() -> (Mock, Options) {
    let name = topic();
    let (mock, cluster) = mock(&name, PARTITIONS);
    let options = Options {
        topic: name,
        ..options(cluster)
    };
    (mock, options)
}

/// Options of a topic on the real cluster.
async fn prepared() -> Options {
    let options = options(cluster());
    prepare(&options).await.unwrap();
    options
}

/// Appends deletions of todos in the order of their ids, and returns where they stand.
async fn append(appender: &Servers, ids: impl IntoIterator<Item = u128>) -> Vec<Position> {
    let commands: Vec<_> = ids.into_iter().map(delete).collect();
    crate::log::contract::append_all(appender.clone(), commands).await
}

async fn event(worker: &mut Worker) -> Event {
    in_time(worker.next()).await.unwrap().expect("not closed")
}

async fn assigned(worker: &mut Worker) -> Vec<u16> {
    match event(worker).await {
        Event::Assigned(mut partitions) => {
            partitions.sort_unstable();
            partitions
        }
        other => panic!("not assigned: {other:?}"),
    }
}

async fn revoked(worker: &mut Worker) -> Vec<u16> {
    match event(worker).await {
        Event::Revoked(mut partitions) => {
            partitions.sort_unstable();
            partitions
        }
        other => panic!("not revoked: {other:?}"),
    }
}

async fn batch(worker: &mut Worker) -> Batch {
    match event(worker).await {
        Event::Batch(batch) => batch,
        other => panic!("no batch: {other:?}"),
    }
}

/// A worker that has been given all partitions.
async fn sole_worker(options: &Options) -> Worker {
    let mut worker = worker(options);
    assert_eq!(assigned(&mut worker).await, [0, 1, 2]);
    worker
}

async fn start_all(worker: &mut Worker) {
    let all: Vec<Stored> = (0..PARTITIONS).map(beginning).collect();
    worker.start(&all).await.unwrap();
}

async fn open() -> (Servers, Worker) {
    let options = prepared().await;
    (appender(&options), worker(&options))
}

suite!(open().await);
