//! Composition: the only place that names back ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rand::RngExt;
use rand::distr::Alphanumeric;
use tracing::info;

use crate::clock::{self, Stopwatch};
use crate::feed::{Publisher, Subscriber};
use crate::limit::{self, Figures, Limiter};
use crate::log::{Appender, Consumer};
use crate::marks::Marks;
use crate::metrics::{Metrics, WorkerMetrics};
use crate::seed::Seeder;
use crate::snapshot::{self, Builder, Encoder, Published, refresh};
use crate::stage::Stage;
use crate::store::{self, Reader, Store, sqlite};
use crate::worker::{self, Step, Worker};
use crate::{feed, log, runtime};

/// Exceptional outcomes kept in memory: at 5,000 gift codes a second, some ten seconds of them, so
/// that who waits for one need not ask the store. About 200 bytes each.
const RECENT_OUTCOMES_MAX: usize = 1 << 16;
/// Letters and digits of the secret that is made where none is configured: over 256 bits, which
/// RFC 7518 (3.2) asks for.
const SECRET_CHARS: usize = 48;

/// Why the process could not be put together. The texts are for who starts it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("DATA_DIR: {path}: {error}")]
    DataDir { path: PathBuf, error: io::Error },
    #[error("DATA_DIR: {0}: another process has it; stop that one, or set another DATA_DIR")]
    Taken(PathBuf),
    #[error(transparent)]
    Store(#[from] store::OpenError),
    #[error("cannot read the todos: {0}")]
    Load(#[from] store::StoreError),
    #[error("REDIS_URL: {0}")]
    Limiter(#[from] limit::Unusable),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// The directory where everything is kept when alone, held by this process.
pub struct DataDir {
    path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is not there, and takes it.
    ///
    /// # Errors
    /// [`OpenError::Taken`] where another process has it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::DataDir {
            path: path.to_owned(),
            error,
        };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Taken(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Where a process alone listens for `millpond seed`.
#[must_use]
pub fn control_socket(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// The secret of tokens that is kept in `data_dir`; made, and readable by its owner only, where
/// there is none yet.
///
/// # Errors
/// Those of the file system.
pub fn kept_secret(data_dir: &Path) -> io::Result<Vec<u8>> {
    let path = data_dir.join("jwt-secret");
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Ok(secret) if secret.len() < SECRET_CHARS => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "is cut short; remove it",
            ));
        }
        read => return read,
    }
    let secret: String = rand::rng()
        .sample_iter(Alphanumeric)
        .take(SECRET_CHARS)
        .map(char::from)
        .collect();
    // Whole or not at all, and the first one stays: a crash or another process in between must
    // leave neither half a secret nor two.
    let unfinished = data_dir.join(format!("jwt-secret.{}", std::process::id()));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    match fs::hard_link(&unfinished, &path) {
        Ok(()) => fs::remove_file(&unfinished)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(&unfinished)?,
        // Not every file system has links.
        Err(_) => fs::rename(&unfinished, &path)?,
    }
    File::open(data_dir)?.sync_all()?;
    fs::read(path)
}

/// What a gauge of the limits shows.
type Figure = fn(&Figures) -> u32;

/// The limits of a process: those of the fleet where there is a Redis, else its own.
///
/// # Errors
/// A URL that cannot be one of Redis; whether Redis is there shows later.
pub fn limiter(options: &limit::Backing, metrics: &Metrics) -> Result<Limiter, OpenError> {
    let limits = options.limits.clone();
    let limiter = match &options.redis_url {
        Some(url) => Limiter::Redis(limit::Redis::new(url, limits)?),
        None => Limiter::Local(Arc::new(limit::Local::new(limits))),
    };
    let figures: [(&str, &str, Figure); 3] = [
        (
            "limiter_in_flight",
            "In-flight slots in use by this server",
            |figures| figures.in_flight,
        ),
        (
            "limiter_servers",
            "Servers that share the limits, as far as this one knows",
            |figures| figures.servers,
        ),
        (
            "limiter_cores_without_redis",
            "Serving cores that take Redis for away",
            |figures| figures.cores_without_redis,
        ),
    ];
    for (name, help, figure) in figures {
        let limiter = limiter.clone();
        metrics.gauge(name, help, move || figure(&limiter.figures()).into());
    }
    Ok(limiter)
}

/// A process alone, without its HTTP side: log, store, feed, snapshot and their threads.
pub struct App {
    pub log: Appender,
    pub published: Arc<Published>,
    pub marks: Arc<Marks>,
    pub reader: Reader,
    pub metrics: Arc<Metrics>,
    pub stage: Stage,
    threads: Vec<JoinHandle<()>>,
    encoder: Encoder,
    /// Given up last.
    _data_dir: DataDir,
}

/// What an [`App`] is opened with.
pub struct Options {
    pub store: store::Options,
    pub log: log::Options,
    /// Threads that count requests.
    pub serving_threads: usize,
}

impl App {
    /// Opens the store, loads the todos and starts the threads behind the HTTP side.
    ///
    /// # Errors
    /// What cannot be opened, loaded or started; nothing goes on running then.
    pub fn open(data_dir: DataDir, options: Options) -> Result<Self, OpenError> {
        let watch = Stopwatch::start();
        let file = data_dir.path().join("millpond.db");
        let store = Store::Sqlite(sqlite::Store::open(&file, options.store)?);
        let reader = store.reader();
        let snapshot = load(&reader)?;
        info!(todos = snapshot.len(), took = ?watch.elapsed(), "loaded");

        let stage = Stage::default();
        let metrics = Arc::new(Metrics::new(options.serving_threads));
        let marks = Arc::new(Marks::new(snapshot.positions(), RECENT_OUTCOMES_MAX));
        let next_offset = snapshot.positions().first().copied().unwrap_or(0);
        let published = Published::new(snapshot);
        let (log, consumer) = log::embedded::open(options.log, next_offset, clock::now);
        let (to_feed, from_feed) = feed::embedded::open(&feed::Options::default());
        let counted = metrics.worker.clone();
        let worker = Worker {
            consumer: Consumer::Embedded(consumer),
            store,
            publisher: Publisher::Embedded(to_feed),
            clock: clock::now,
            observe: move |step| count(&counted, &step),
        };
        let encoder = Encoder::spawn(&published)?;
        let threads = vec![
            write(worker, stage.clone())?,
            follow(
                Subscriber::Embedded(from_feed),
                &published,
                &marks,
                &metrics,
                stage.clone(),
            )?,
        ];
        let app = Self {
            log: Appender::Embedded(log),
            published,
            marks,
            reader,
            metrics,
            stage,
            threads,
            encoder,
            _data_dir: data_dir,
        };
        app.gauge();
        Ok(app)
    }

    fn gauge(&self) {
        let log = self.log.clone();
        self.metrics.gauge(
            "log_queue_commands",
            "Commands that wait for the log",
            move || f64::from(u32::try_from(log.queued().0).unwrap_or(u32::MAX)),
        );
        let published = Arc::downgrade(&self.published);
        self.metrics.gauge(
            "snapshot_todos",
            "Todos in the served snapshot",
            move || {
                let todos = published
                    .upgrade()
                    .map_or(0, |published| published.snapshot().len());
                f64::from(u32::try_from(todos).unwrap_or(u32::MAX))
            },
        );
    }

    #[must_use]
    pub fn seeder(&self) -> Seeder {
        Seeder {
            log: self.log.clone(),
            published: Arc::clone(&self.published),
            marks: Arc::clone(&self.marks),
        }
    }

    /// Takes no more writes, applies those that were taken, and closes the store.
    pub fn close(self) {
        self.log.close();
        for thread in self.threads {
            // A thread that panicked has said so.
            drop(thread.join());
        }
        self.encoder.stop();
    }
}

fn load(reader: &Reader) -> Result<snapshot::Snapshot, OpenError> {
    let mut builder = Builder::new();
    let runtime = runtime::single_threaded()?;
    let positions = runtime.block_on(reader.load(&mut |todo| builder.push(&todo)))?;
    Ok(builder.build(positions))
}

fn count(metrics: &WorkerMetrics, step: &Step) {
    if step.applied {
        let took = Duration::from_micros(u64::try_from(step.duration_micros).unwrap_or(0));
        metrics.batch(step.commands, step.dead_letters, took);
    } else {
        metrics.batches_refused.inc();
    }
}

/// The writer: one thread, since SQLite has one writer and its calls block.
fn write(
    worker: Worker<impl FnMut(Step) + Send + 'static>,
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
    subscriber: Subscriber,
    published: &Arc<Published>,
    marks: &Arc<Marks>,
    metrics: &Metrics,
    stage: Stage,
) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::single_threaded()?;
    let (published, marks) = (Arc::clone(published), Arc::clone(marks));
    let seconds = metrics.snapshots.publish_seconds.clone();
    runtime::spawn("refresher".to_owned(), stage.clone(), move || {
        let count = |took: Duration| seconds.observe(took.as_secs_f64());
        if let Err(gap) = runtime.block_on(refresh::run(subscriber, published, marks, count)) {
            stage.fail(format!("the snapshot cannot follow the feed: {gap}"));
        }
    })
}
