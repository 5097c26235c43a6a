//! A process alone: one file, one writer, everything in one process.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{App, DataDir, OpenError, database_file, nothing_yet};
use crate::clock::{self, Stopwatch};
use crate::feed::{Publisher, Subscriber};
use crate::log::{Appender, Consumer};
use crate::marks::Marks;
use crate::metrics::{Metrics, SnapshotMetrics, WorkerMetrics};
use crate::snapshot::refresh::{self, Renewed};
use crate::snapshot::reload::{self, LoadError};
use crate::snapshot::{Encoder, Published, Snapshot};
use crate::stage::{At, Stage};
use crate::store::{self, Reader, Store, sqlite};
use crate::worker::{self, Seen, Step, Worker};
use crate::{feed, log, runtime};

/// What a process alone is opened with.
pub struct Options {
    pub store: store::Options,
    pub log: log::Options,
    /// Threads that count requests.
    pub serving_threads: usize,
}

/// Opens the store and starts the threads behind the HTTP side. One of them loads the todos: until
/// then the stage is [`At::Starting`], and the log must be given nothing.
///
/// # Errors
/// What cannot be opened or started; nothing goes on running then.
pub fn open(data_dir: DataDir, options: Options) -> Result<App, OpenError> {
    let file = database_file(data_dir.path());
    let store = Store::Sqlite(sqlite::Store::open(&file, options.store)?);
    let reader = store.reader();
    let positions = runtime::single_threaded()?.block_on(reader.positions());
    let positions = positions.map_err(LoadError::from)?;

    let stage = Stage::default();
    let stop = CancellationToken::new();
    let metrics = Arc::new(Metrics::new(options.serving_threads));
    let (published, marks) = nothing_yet(1);
    let next_offset = positions.first().copied().unwrap_or(0);
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
    let (loaded, may_write) = oneshot::channel();
    let refresher = Refresher {
        reader: reader.clone(),
        subscriber: Subscriber::Embedded(from_feed),
        published: Arc::clone(&published),
        marks: Arc::clone(&marks),
        metrics: SnapshotMetrics::register(&metrics),
        stage: stage.clone(),
        stop: stop.clone(),
    };
    let encoder = Encoder::spawn(&published)?;
    let app = App {
        log: Appender::Embedded(log),
        published,
        marks,
        reader,
        metrics,
        links: Vec::new(),
        writer: Some(write(worker, may_write, stage.clone())?),
        refresher: super::refresher(stage.clone(), move || refresher.run(loaded))?,
        stage,
        encoder,
        stop,
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
    may_write: oneshot::Receiver<()>,
    stage: Stage,
) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::single_threaded()?;
    runtime::spawn("writer".to_owned(), stage.clone(), move || {
        let ended = runtime.block_on(async {
            // Not told but dropped, it says the same: nobody reads the file any more.
            drop(may_write.await);
            worker::run(worker).await
        });
        if let Err(fatal) = ended {
            stage.fail(format!("the writer has stopped: {fatal}"));
        }
    })
}

/// Loads the todos, and makes snapshots of what the writer applies.
struct Refresher {
    reader: Reader,
    subscriber: Subscriber,
    published: Arc<Published>,
    marks: Arc<Marks>,
    metrics: SnapshotMetrics,
    stage: Stage,
    /// Breaks the load off.
    stop: CancellationToken,
}

impl Refresher {
    /// `loaded` is told once the file is read: who closes it last must be the writer.
    fn run(mut self, loaded: oneshot::Sender<()>) -> Result<(), OpenError> {
        self.stage.starts(super::LOADS);
        let snapshot = self.load()?;
        drop(self.reader);
        // A writer that has gone needs no word.
        let _ = loaded.send(());
        let Some(snapshot) = snapshot else {
            return Ok(());
        };
        reload::show(snapshot, &self.published, &self.marks);
        self.stage.advance(At::Serving);
        let count = |renewed: Renewed| {
            let seconds = renewed.took.as_secs_f64();
            self.metrics.publish_seconds.observe(seconds);
        };
        let followed = refresh::run(&mut self.subscriber, &self.published, &self.marks, count);
        if let Err(halt) = runtime::single_threaded()?.block_on(followed) {
            self.stage
                .fail(format!("the snapshot cannot follow the feed: {halt}"));
        }
        Ok(())
    }

    /// `None` where it was stopped before the end. The runtime ends with the thread that reads.
    fn load(&self) -> Result<Option<Snapshot>, OpenError> {
        let watch = Stopwatch::start();
        runtime::single_threaded()?.block_on(async {
            let snapshot = tokio::select! {
                loaded = reload::load(&self.reader, 1) => loaded?,
                () = self.stop.cancelled() => return Ok(None),
            };
            info!(todos = snapshot.len(), took = ?watch.elapsed(), "loaded");
            Ok(Some(snapshot))
        })
    }
}
