//! The worker end to end on embedded ports, and what appenders are told when the store fails.

use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;
use uuid::Uuid;

use super::super::*;
use crate::domain::{Command, Payload, Position, Timestamp};
use crate::feed::{self, Subscriber};
use crate::log::{self, Appender};
use crate::store::sqlite::tests::{Directory, creates};

struct Running {
    appender: Appender,
    subscriber: Subscriber,
    worker: JoinHandle<Result<(), Fatal>>,
    steps: Arc<Mutex<Vec<Step>>>,
}

/// Starts a worker on a store whose next offset is `next`.
fn start(store: Store, next: u64) -> Running {
    let clock = || Timestamp::from_micros(1);
    let (appender, consumer) = log::embedded::open(log::Options::default(), next, clock);
    let (publisher, subscriber) = feed::embedded::open(&feed::Options::default());
    let steps = Arc::new(Mutex::new(Vec::new()));
    let batches = Arc::clone(&steps);
    let worker = tokio::spawn(run(Worker {
        consumer: Consumer::Embedded(consumer),
        store,
        publisher: Publisher::Embedded(publisher),
        clock,
        observe: move |seen| {
            if let Seen::Batch(step) = seen {
                batches.lock().unwrap().push(step);
            }
        },
        stop: CancellationToken::new(),
    }));
    Running {
        appender: Appender::Embedded(appender),
        subscriber: Subscriber::Embedded(subscriber),
        worker,
        steps,
    }
}

/// The commands that create todos `from..to`.
fn commands(from: u64, to: u64) -> Vec<Command> {
    let command = |payload| match payload {
        Payload::Command(command) => command,
        Payload::Poison { .. } => panic!("no poison here"),
    };
    let records = creates(from, to).records.into_iter();
    records.map(|record| command(record.payload)).collect()
}

/// Appends all at once, so that they are one batch, and returns what each was told.
async fn append(appender: &Appender, commands: Vec<Command>) -> Vec<Result<Position, AppendError>> {
    let one = |command| {
        let appender = appender.clone();
        tokio::spawn(async move { appender.append(command).await })
    };
    let tasks: Vec<_> = commands.into_iter().map(one).collect();
    let mut told = Vec::new();
    for task in tasks {
        told.push(task.await.unwrap());
    }
    told
}

fn at(offset: u64) -> Position {
    Position {
        partition: 0,
        offset,
    }
}

fn open(directory: &Directory) -> Store {
    Store::Sqlite(directory.open().unwrap())
}

/// The next offset and the ids of all todos.
async fn stored(directory: &Directory) -> (u64, Vec<Uuid>) {
    let mut ids = Vec::new();
    let store = open(directory);
    let positions = store.reader().load(&mut |todo| ids.push(todo.id)).await;
    (positions.unwrap()[0], ids)
}

#[tokio::test]
async fn what_is_acknowledged_is_stored_and_published() {
    let directory = Directory::new();
    let Running {
        appender,
        mut subscriber,
        worker,
        steps,
    } = start(open(&directory), 0);
    let told = append(&appender, commands(0, 50)).await;
    let acknowledged: Vec<Position> = told.into_iter().map(Result::unwrap).collect();
    assert!(acknowledged.into_iter().eq((0..50).map(at)));

    let fed: Vec<Applied> = subscriber.next().await.unwrap();
    let changes: usize = fed.iter().map(|one| one.changes.len()).sum();
    assert_eq!(changes, 50);
    assert_eq!((fed[0].range.from, fed[fed.len() - 1].range.to), (0, 50));

    drop(appender);
    assert_eq!(worker.await.unwrap(), Ok(()));
    assert_eq!(subscriber.next().await, Err(feed::End::Closed));
    let (next, ids) = stored(&directory).await;
    assert_eq!((next, ids.len()), (50, 50));
    let steps = steps.lock().unwrap();
    assert!(steps.iter().all(|step| step.applied));
    assert_eq!(steps.iter().map(|step| step.commands).sum::<usize>(), 50);
}

#[tokio::test]
async fn what_a_full_disk_refused_is_not_enqueued_and_the_worker_goes_on() {
    let directory = Directory::new();
    let store = directory.open().unwrap();
    store.allow_pages(10);
    let running = start(Store::Sqlite(store), 0);
    let told = append(&running.appender, commands(0, 100)).await;
    assert_eq!(told, vec![Err(AppendError::NotEnqueued); 100]);
    let told = append(&running.appender, commands(100, 101)).await;
    assert_eq!(told, [Ok(at(0))]);

    running.appender.close();
    assert_eq!(running.worker.await.unwrap(), Ok(()));
    let one = vec![Uuid::from_u128(100)];
    assert_eq!(stored(&directory).await, (1, one));
    let applied: Vec<bool> = running
        .steps
        .lock()
        .unwrap()
        .iter()
        .map(|step| step.applied)
        .collect();
    assert_eq!(applied, [false, true]);
}

#[tokio::test]
async fn an_unknown_end_is_told_and_stops_the_worker() {
    let directory = Directory::new();
    open(&directory).apply(&mut creates(0, 10)).await.unwrap();
    directory.damage_todos();
    let mut running = start(open(&directory), 10);
    let told = append(&running.appender, commands(10, 15)).await;
    assert_eq!(told, [Err(AppendError::Unknown); 5]);
    let fatal = running.worker.await.unwrap().unwrap_err();
    assert!(
        matches!(fatal, Fatal::Apply(ApplyError::Unknown(_))),
        "{fatal}"
    );
    let told = append(&running.appender, commands(15, 16)).await;
    assert_eq!(told, [Err(AppendError::NotEnqueued)]);
    assert_eq!(running.subscriber.next().await, Err(feed::End::Closed));
}

#[tokio::test]
async fn a_second_writer_stops_the_worker_and_nothing_is_enqueued() {
    let directory = Directory::new();
    let running = start(open(&directory), 0);
    open(&directory).apply(&mut creates(0, 1)).await.unwrap();
    let told = append(&running.appender, commands(1, 3)).await;
    assert_eq!(told, [Err(AppendError::NotEnqueued); 2]);
    let fatal = running.worker.await.unwrap();
    assert_eq!(fatal, Err(Fatal::Apply(ApplyError::Moved(vec![1]))));
}

#[tokio::test]
async fn without_a_feed_the_batch_stands_and_the_worker_stops() {
    let directory = Directory::new();
    let running = start(open(&directory), 0);
    drop(running.subscriber);
    let told = append(&running.appender, commands(0, 1)).await;
    assert_eq!(told, [Ok(at(0))]);
    assert_eq!(
        running.worker.await.unwrap(),
        Err(Fatal::Feed(PublishError::Closed))
    );
    assert_eq!(stored(&directory).await.0, 1);
}

#[tokio::test]
async fn an_aborted_worker_leaves_nobody_waiting() {
    let directory = Directory::new();
    let running = start(open(&directory), 0);
    let waiting = tokio::spawn({
        let appender = running.appender.clone();
        async move { append(&appender, commands(0, 3)).await }
    });
    running.worker.abort();
    for told in waiting.await.unwrap() {
        assert_eq!(told, Err(AppendError::NotEnqueued));
    }
}
