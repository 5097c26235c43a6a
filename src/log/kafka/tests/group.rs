//! Who owns which partition.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::*;

/// What the store would know, and who owns what by what they were told.
#[derive(Default)]
struct Ledger {
    /// The next offset by partition.
    next: HashMap<u16, u64>,
    owners: HashMap<u16, usize>,
    applied: usize,
    /// Batches handed out that no longer began where the ledger stood.
    stale: usize,
}

impl Ledger {
    /// A compare-and-set, as the store's.
    fn apply(&mut self, batch: &Batch) -> bool {
        let stands = |range: &crate::domain::Range| {
            self.next.get(&range.partition).copied().unwrap_or(0) == range.from
        };
        if !batch.ranges.iter().all(stands) {
            self.stale += 1;
            return false;
        }
        for range in &batch.ranges {
            self.next.insert(range.partition, range.to);
        }
        self.applied += batch.records.len();
        true
    }
}

/// Works until `total` commands are applied by all workers together.
async fn work(mut worker: Worker, me: usize, ledger: Arc<Mutex<Ledger>>, total: usize) {
    loop {
        if ledger.lock().unwrap().applied >= total {
            return;
        }
        let next = tokio::time::timeout(Duration::from_millis(100), worker.next());
        let Ok(event) = next.await else { continue };
        match event.unwrap().expect("not closed") {
            Event::Assigned(partitions) => {
                let from: Vec<Stored> = {
                    let mut ledger = ledger.lock().unwrap();
                    let stored = |partition: &u16| Stored {
                        partition: *partition,
                        next_offset: ledger.next.get(partition).copied().unwrap_or(0),
                        last: None,
                    };
                    let from = partitions.iter().map(stored).collect();
                    for partition in partitions {
                        ledger.owners.insert(partition, me);
                    }
                    from
                };
                worker.start(&from).await.unwrap();
            }
            Event::Revoked(partitions) => {
                let mut ledger = ledger.lock().unwrap();
                for partition in partitions {
                    if ledger.owners.get(&partition) == Some(&me) {
                        ledger.owners.remove(&partition);
                    }
                }
            }
            Event::Batch(batch) => {
                let owned = worker.owns_batch();
                let applied = {
                    let mut ledger = ledger.lock().unwrap();
                    let applied = ledger.apply(&batch);
                    assert!(applied || !owned || !worker.owns_batch());
                    applied
                };
                if applied {
                    worker.acknowledge();
                }
            }
        }
    }
}

async fn workers_come_and_go(options: Options) {
    const TOTAL: usize = 3_000;
    let ledger = Arc::<Mutex<Ledger>>::default();
    let appender = appender(&options);
    let enough = |applied: usize| {
        let ledger = Arc::clone(&ledger);
        async move {
            while ledger.lock().unwrap().applied < applied {
                tokio::task::yield_now().await;
            }
        }
    };
    let begin = |me| tokio::spawn(work(worker(&options), me, Arc::clone(&ledger), TOTAL));
    let first = begin(1);
    append(&appender, 0..1_000).await;
    in_time(enough(1_000)).await;
    let second = begin(2);
    append(&appender, 1_000..2_000).await;
    in_time(enough(2_000)).await;
    first.abort();
    append(&appender, 2_000..3_000).await;
    in_time(second).await.unwrap();
    let ledger = ledger.lock().unwrap();
    assert_eq!(ledger.applied, TOTAL);
    assert_eq!(ledger.next.values().sum::<u64>(), TOTAL as u64);
}

#[tokio::test]
async fn workers_come_and_go_and_everything_is_handed_out_in_process() {
    let (_mock, options) = mocked();
    workers_come_and_go(options).await;
}

#[tokio::test]
async fn workers_come_and_go_and_everything_is_handed_out_on_the_real_one() {
    workers_come_and_go(prepared().await).await;
}

#[tokio::test]
async fn what_is_handed_out_is_revoked_before_another_has_it() {
    let options = prepared().await;
    append(&appender(&options), 0..30).await;
    let mut first = sole_worker(&options).await;
    start_all(&mut first).await;
    batch(&mut first).await;
    assert!(first.owns_batch());

    let mut second = worker(&options);
    let theirs = assigned(&mut second).await;
    // The first has been told by now, while it was busy.
    assert!(!first.owns_batch());
    assert_eq!(revoked(&mut first).await, [0, 1, 2]);
    let mine = assigned(&mut first).await;
    let mut all = [mine, theirs].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2]);
}

#[tokio::test]
async fn who_leaves_is_told_and_comes_back() {
    let (_mock, options) = mocked();
    append(&appender(&options), 0..30).await;
    let mut worker = sole_worker(&options).await;
    start_all(&mut worker).await;
    batch(&mut worker).await;
    worker.leave();
    loop {
        match event(&mut worker).await {
            Event::Revoked(_) => break,
            Event::Batch(_) => {}
            Event::Assigned(_) => panic!("it has left"),
        }
    }
    assert!(!worker.owns_batch());
    // Not its own any more: passed over.
    start_all(&mut worker).await;
    worker.join();
    assert_eq!(assigned(&mut worker).await, [0, 1, 2]);
    start_all(&mut worker).await;
    let batch = batch(&mut worker).await;
    assert!(batch.ranges.iter().all(|range| range.from == 0));
}

#[tokio::test]
async fn a_closed_worker_ends_and_others_go_on_at_once() {
    let options = prepared().await;
    let mut first = sole_worker(&options).await;
    first.close();
    assert_eq!(in_time(first.next()).await, Ok(None));
    assert_eq!(in_time(first.next()).await, Ok(None));
    let watch = crate::clock::Stopwatch::start();
    let mut second = worker(&options);
    assert_eq!(assigned(&mut second).await, [0, 1, 2]);
    assert!(watch.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_batch_that_is_not_full_waits_for_more_behind_another() {
    let (_mock, mut options) = mocked();
    options.limits.linger = Some(Duration::from_hours(1));
    let appender = appender(&options);
    let mut worker = sole_worker(&options).await;
    start_all(&mut worker).await;
    append(&appender, 0..1).await;
    assert_eq!(
        batch(&mut worker).await.records.len(),
        1,
        "nobody is before it"
    );
    worker.acknowledge();
    append(&appender, 1..5).await;
    let waiting = tokio::spawn(async move { (batch(&mut worker).await, worker) });
    append(&appender, 5..9).await;
    let (batch, _worker) = in_time(waiting).await.unwrap();
    assert_eq!(batch.records.len(), BATCH_COMMANDS_MAX);
}
