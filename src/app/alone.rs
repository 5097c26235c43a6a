//! A process alone: one file, one writer, everything in one process.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{App, DataDir, OpenError, RECENT_OUTCOMES_MAX};
use crate::clock::{self, Stopwatch};
use crate::feed::{Publisher, Subscriber};
use crate::log::{Appender, Consumer};
use crate::marks::Marks;
use crate::metrics::{Metrics, SnapshotMetrics, WorkerMetrics};
use crate::snapshot::refresh::{self, Renewed};
use crate::snapshot::{Encoder, Published, reload};
use crate::stage::Stage;
use crate::store::{self, Store, sqlite};
use crate::worker::{self, Seen, Step, Worker};
use crate::{feed, log, runtime};

/// What a process alone is opened with.
pub struct Options {
    pub store: store::Options,
    pub log: log::Options,
    /// Threads that count requests.
    pub serving_threads: usize,
}

/// Opens the store, loads the todos and starts the threads behind the HTTP side.
///
/// # Errors
/// What cannot be opened, loaded or started; nothing goes on running then.
pub fn open(data_dir: DataDir, options: Options) -> Result<App, OpenError> {
    let watch = Stopwatch::start();
    let file = data_dir.path().join("millpond.db");
    let store = Store::Sqlite(sqlite::Store::open(&file, options.store)?);
    let reader = store.reader();
    let snapshot = runtime::single_threaded()?.block_on(reload::load(&reader, 1))?;
    info!(todos = snapshot.len(), took = ?watch.elapsed(), "loaded");

    let stage = Stage::default();
    let metrics = Arc::new(Metrics::new(options.serving_threads));
    let marks = Arc::new(Marks::new(snapshot.positions(), RECENT_OUTCOMES_MAX));
    let next_offset = snapshot.positions().first().copied().unwrap_or(0);
    let published = Published::new(snapshot);
    let (log, consumer) = log::embedded::open(options.log, next_offset, clock::now);
    let (to_feed, from_feed) = feed::embedded::open(&feed::Options::default());
    let counted = WorkerMetrics::register(&metrics);
    let worker = Worker {
        consumer: Consumer::Embedded(consumer),
        store,
        publisher: Publisher::Embedded(to_feed),
        clock: clock::now,
        observe: move |seen| {
            if let Seen::Batch(step) = seen {
                count(&counted, &step);
            }
        },
        // It ends with the log.
        stop: CancellationToken::new(),
    };
    let encoder = Encoder::spawn(&published)?;
    let threads = vec![
        write(worker, stage.clone())?,
        follow(
            Subscriber::Embedded(from_feed),
            &published,
            &marks,
            SnapshotMetrics::register(&metrics),
            stage.clone(),
        )?,
    ];
    let app = App {
        log: Appender::Embedded(log),
        published,
        marks,
        reader,
        metrics,
        stage,
        links: Vec::new(),
        threads,
        encoder,
        stop: CancellationToken::new(),
        data_dir: Some(data_dir),
    };
    app.gauge();
    Ok(app)
}

pub(super) fn count(metrics: &WorkerMetrics, step: &Step) {
    if step.applied {
        let took = Duration::from_micros(u64::try_from(step.duration_micros).unwrap_or(0));
        metrics.batch(step.commands, step.dead_letters, took);
    } else {
        metrics.batches_refused.inc();
    }
}

/// The writer: one thread, since SQLite has one writer and its calls block.
fn write(
    worker: Worker<impl FnMut(Seen) + Send + 'static>,
    stage: Stage,
) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::single_threaded()?;
    runtime::spawn("writer".to_owned(), stage.clone(), move || {
        if let Err(fatal) = runtime.block_on(worker::run(worker)) {
            stage.fail(format!("the writer has stopped: {fatal}"));
        }
    })
}

/// The refresher: makes snapshots of what the writer applied.
fn follow(
    mut subscriber: Subscriber,
    published: &Arc<Published>,
    marks: &Arc<Marks>,
    metrics: SnapshotMetrics,
    stage: Stage,
) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::single_threaded()?;
    let (published, marks) = (Arc::clone(published), Arc::clone(marks));
    runtime::spawn("refresher".to_owned(), stage.clone(), move || {
        let count = |renewed: Renewed| {
            let seconds = renewed.took.as_secs_f64();
            metrics.publish_seconds.observe(seconds);
        };
        let followed = refresh::run(&mut subscriber, &published, &marks, count);
        if let Err(halt) = runtime.block_on(followed) {
            stage.fail(format!("the snapshot cannot follow the feed: {halt}"));
        }
    })
}
