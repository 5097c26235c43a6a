//! The embedded log runs the contract, and what its appenders are told when things go wrong.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::interval;

use crate::clock::Stopwatch;
use crate::domain::{Action, Batch, Command, Position, Range, Timestamp};
use crate::log::contract::{BATCH_COMMANDS_MAX, delete, suite};
use crate::log::{AppendError, Appender, Consumer, Event, Options, embedded};

const FIRST_OFFSET: u64 = 7;

fn open_with(options: Options) -> (Appender, Consumer) {
    let (appender, consumer) = embedded::open(options, FIRST_OFFSET, || Timestamp::from_micros(42));
    (Appender::Embedded(appender), Consumer::Embedded(consumer))
}

fn open() -> (Appender, Consumer) {
    open_with(Options {
        batch_commands_max: BATCH_COMMANDS_MAX,
        ..Options::default()
    })
}

suite!(open());

type Append = Pin<Box<dyn Future<Output = Result<Position, AppendError>> + Send>>;

/// Polls without waiting.
fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Appends as far as the queue.
fn enqueue(appender: &Appender, id: u128) -> Append {
    let appender = appender.clone();
    let mut append: Append = Box::pin(async move { appender.append(delete(id)).await });
    assert!(poll(append.as_mut()).is_pending());
    append
}

fn settled(append: &mut Append) -> Result<Position, AppendError> {
    match poll(append.as_mut()) {
        Poll::Ready(settled) => settled,
        Poll::Pending => panic!("still waits"),
    }
}

fn at(offset: u64) -> Position {
    Position {
        partition: 0,
        offset,
    }
}

async fn next_batch(consumer: &mut Consumer) -> Batch {
    match consumer.next().await {
        Ok(Some(Event::Batch(batch))) => batch,
        other => panic!("no batch: {other:?}"),
    }
}

fn range(batch: &Batch) -> (u64, u64) {
    let [Range { from, to, .. }] = batch.ranges[..] else {
        panic!("{:?}", batch.ranges)
    };
    (from, to)
}

#[tokio::test]
async fn nobody_is_acknowledged_before_the_batch_is() {
    let (appender, mut consumer) = open();
    let mut first = enqueue(&appender, 1);
    let batch = next_batch(&mut consumer).await;
    let mut behind = enqueue(&appender, 2);
    assert_eq!(range(&batch), (7, 8));
    assert_eq!(batch.records[0].appended_at, Timestamp::from_micros(42));
    assert!(poll(first.as_mut()).is_pending());
    consumer.acknowledge();
    assert_eq!(settled(&mut first), Ok(at(7)));
    assert!(poll(behind.as_mut()).is_pending());
    assert_eq!(range(&next_batch(&mut consumer).await), (8, 9));
    consumer.acknowledge();
    assert_eq!(settled(&mut behind), Ok(at(8)));
}

#[tokio::test]
async fn offsets_of_what_was_not_applied_are_used_again() {
    let (appender, mut consumer) = open();
    let mut refused = enqueue(&appender, 1);
    next_batch(&mut consumer).await;
    consumer.refuse(AppendError::NotEnqueued);
    assert_eq!(settled(&mut refused), Err(AppendError::NotEnqueued));

    let mut next = enqueue(&appender, 2);
    assert_eq!(range(&next_batch(&mut consumer).await), (7, 8));
    consumer.refuse(AppendError::Unknown);
    assert_eq!(settled(&mut next), Err(AppendError::Unknown));

    drop(enqueue(&appender, 3));
    assert_eq!(range(&next_batch(&mut consumer).await), (8, 9));
}

#[tokio::test]
async fn a_dropped_consumer_tells_everyone_what_it_knows() {
    let (appender, mut consumer) = open();
    let mut handed_out = enqueue(&appender, 1);
    next_batch(&mut consumer).await;
    let mut behind = enqueue(&appender, 2);
    drop(consumer);
    assert_eq!(settled(&mut handed_out), Err(AppendError::Unknown));
    assert_eq!(settled(&mut behind), Err(AppendError::NotEnqueued));
    let late = appender.append(delete(3)).await;
    assert_eq!(late, Err(AppendError::NotEnqueued));
    assert_eq!(appender.queued(), (0, 0));
}

#[tokio::test]
async fn a_batch_nobody_settled_is_unknown() {
    let (appender, mut consumer) = open();
    let mut forgotten = enqueue(&appender, 1);
    next_batch(&mut consumer).await;
    drop(enqueue(&appender, 2));
    assert_eq!(range(&next_batch(&mut consumer).await), (8, 9));
    assert_eq!(settled(&mut forgotten), Err(AppendError::Unknown));
}

#[tokio::test]
async fn a_closed_consumer_takes_and_applies_no_more() {
    let (appender, mut consumer) = open();
    let mut waiting = enqueue(&appender, 1);
    consumer.close();
    assert_eq!(settled(&mut waiting), Err(AppendError::NotEnqueued));
    let late = appender.append(delete(2)).await;
    assert_eq!(late, Err(AppendError::NotEnqueued));
    assert_eq!(consumer.next().await, Ok(None));
}

#[tokio::test]
async fn closed_by_the_appenders_it_is_drained_first() {
    let (appender, mut consumer) = open();
    let mut waiting = enqueue(&appender, 1);
    appender.close();
    let late = appender.append(delete(2)).await;
    assert_eq!(late, Err(AppendError::NotEnqueued));
    assert_eq!(range(&next_batch(&mut consumer).await), (7, 8));
    consumer.acknowledge();
    assert_eq!(settled(&mut waiting), Ok(at(7)));
    assert_eq!(consumer.next().await, Ok(None));
}

#[tokio::test]
async fn the_last_appender_dropped_ends_a_waiting_consumer() {
    let (appender, mut consumer) = open();
    let other = appender.clone();
    let mut next = pin!(consumer.next());
    drop(appender);
    assert!(poll(next.as_mut()).is_pending());
    drop(other);
    assert_eq!(next.await, Ok(None));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (appender, mut consumer) = open_with(Options {
        queue_commands_max: 2,
        ..Options::default()
    });
    let _waiting = [enqueue(&appender, 1), enqueue(&appender, 2)];
    let refused = appender.append(delete(3)).await;
    assert_eq!(refused, Err(AppendError::NotEnqueued));
    assert_eq!(appender.queued(), (2, 2 * delete(1).size_bytes()));
    assert_eq!(next_batch(&mut consumer).await.records.len(), 2);
    assert_eq!(appender.queued(), (0, 0));
    drop(enqueue(&appender, 4));
}

#[tokio::test]
async fn bytes_are_limited_in_the_queue_and_in_a_batch() {
    let size = delete(1).size_bytes();
    let (appender, mut consumer) = open_with(Options {
        queue_bytes_max: 5 * size,
        batch_bytes_max: 2 * size + 1,
        ..Options::default()
    });
    let long = |description: usize| Command {
        action: Action::Create {
            id: uuid::Uuid::nil(),
            title: String::new(),
            description: "d".repeat(description),
        },
        ..delete(1)
    };
    let mut large = Box::pin(appender.append(long(2 * size)));
    assert!(poll(large.as_mut()).is_pending());
    drop(enqueue(&appender, 2));
    let refused = appender.append(long(1)).await;
    assert_eq!(refused, Err(AppendError::NotEnqueued));
    drop(enqueue(&appender, 3));
    // Larger than a batch: it comes alone. Then the two that fit together.
    assert_eq!(next_batch(&mut consumer).await.records.len(), 1);
    assert_eq!(next_batch(&mut consumer).await.records.len(), 2);
}

/// A log that waits for ever behind its first batch, which has gone, and the batch that waits with
/// two commands.
async fn lingering(options: Options) -> (Appender, Pin<Box<dyn Future<Output = Batch>>>) {
    let (appender, mut consumer) = open_with(Options {
        linger: Some(Duration::from_hours(1)),
        ..options
    });
    drop(enqueue(&appender, 1));
    assert_eq!(next_batch(&mut consumer).await.records.len(), 1);
    drop(enqueue(&appender, 2));
    let mut next: Pin<Box<dyn Future<Output = Batch>>> =
        Box::pin(async move { next_batch(&mut consumer).await });
    assert!(poll(next.as_mut()).is_pending());
    drop(enqueue(&appender, 3));
    assert!(poll(next.as_mut()).is_pending());
    (appender, next)
}

#[tokio::test]
async fn lingering_ends_when_the_batch_is_full() {
    let (appender, mut next) = lingering(Options {
        batch_commands_max: 3,
        ..Options::default()
    })
    .await;
    drop(enqueue(&appender, 4));
    assert!(poll(next.as_mut()).is_ready());
}

#[tokio::test]
async fn lingering_ends_when_there_is_no_more_room() {
    let (appender, mut next) = lingering(Options {
        queue_commands_max: 2,
        ..Options::default()
    })
    .await;
    let refused = appender.append(delete(4)).await;
    assert_eq!(refused, Err(AppendError::NotEnqueued));
    assert!(poll(next.as_mut()).is_ready());
}

#[tokio::test]
async fn lingering_ends_when_its_time_is_over() {
    let (appender, mut consumer) = open_with(Options {
        linger: Some(Duration::from_millis(1)),
        ..Options::default()
    });
    for nth in 1..3 {
        drop(enqueue(&appender, nth));
        assert_eq!(next_batch(&mut consumer).await.records.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn commands_of_many_come_together() {
    let (appender, mut consumer) = open_with(Options {
        linger: None,
        ..Options::default()
    });
    let many = tokio::spawn(async move {
        let mut evenly = interval(Duration::from_millis(1));
        for nth in 0..500 {
            evenly.tick().await;
            drop(enqueue(&appender, nth));
        }
    });
    let mut sizes = Vec::new();
    while let Ok(Some(Event::Batch(batch))) = consumer.next().await {
        sizes.push(batch.records.len());
        consumer.acknowledge();
    }
    many.await.expect("all were enqueued");
    assert_eq!(sizes.iter().sum::<usize>(), 500, "{sizes:?}");
    assert!(sizes.len() < 250, "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_each_answer_does_not_wait_for_others() {
    let (appender, mut consumer) = open_with(Options {
        linger: None,
        ..Options::default()
    });
    let watch = Stopwatch::start();
    for nth in 0..2_000 {
        let append = enqueue(&appender, nth);
        assert_eq!(next_batch(&mut consumer).await.records.len(), 1);
        consumer.acknowledge();
        append.await.expect("it was acknowledged");
    }
    let waited = watch.elapsed();
    assert!(waited < Duration::from_millis(50), "{waited:?}");
}

#[tokio::test]
async fn an_appender_that_left_has_still_appended() {
    let (appender, mut consumer) = open();
    drop(enqueue(&appender, 1));
    let batch = next_batch(&mut consumer).await;
    consumer.acknowledge();
    assert_eq!(batch.records.len(), 1);
}
