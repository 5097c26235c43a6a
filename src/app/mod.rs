//! Composition: the only place that names back ends.
//!
//! `alone` and `fleet` put a server together, which is an [`App`] either way; [`worker`] is the
//! worker of a fleet.

mod alone;
mod applied;
mod data_dir;
pub mod dead_letters;
pub mod fleet;
mod limiter;
mod reach;
pub mod redrive;
pub mod seed;
pub mod worker;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use alone::{Options, open};
use data_dir::database_file;
pub use data_dir::{DataDir, control_socket, kept_secret};
pub use limiter::limiter;

use crate::clock::Stopwatch;
use crate::limit;
use crate::links::Link;
use crate::log::Appender;
use crate::marks::Marks;
use crate::metrics::Metrics;
use crate::runtime;
use crate::seed::Seeder;
use crate::snapshot::reload::LoadError;
use crate::snapshot::{Builder, Encoder, Published};
use crate::stage::Stage;
use crate::store::{self, Reader};

/// Exceptional outcomes kept in memory: at 5,000 gift codes a second, some ten seconds of them, so
/// that who waits for one need not ask the store. About 200 bytes each.
const RECENT_OUTCOMES_MAX: usize = 1 << 16;

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
    Load(#[from] LoadError),
    #[error("REDIS_URL: {0}")]
    Limiter(#[from] limit::Unusable),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    /// What a fleet leans on is not as configured. Waiting does not help.
    #[error("{variable}: {problem}")]
    Config {
        variable: &'static str,
        problem: String,
    },
}

/// What readiness says of a process that starts.
const WAITS_FOR_KAFKA: &str = "the process is starting: it waits for Kafka";
const WAITS_FOR_POSTGRESQL: &str = "the process is starting: it waits for PostgreSQL";
const LOADS: &str = "the process is starting: it loads the todos";

/// What is there before the todos are loaded.
fn nothing_yet(partitions: u16) -> (Arc<Published>, Arc<Marks>) {
    let positions = vec![0; partitions.into()];
    let marks = Marks::new(&positions, RECENT_OUTCOMES_MAX);
    let snapshot = Builder::new().build(positions);
    (Published::new(snapshot), Arc::new(marks))
}

/// Starts the thread that loads the todos and then follows what is applied. Its error, which is
/// one of opening, is the stage's fault as well.
fn refresher(
    stage: Stage,
    run: impl FnOnce() -> Result<(), OpenError> + Send + 'static,
) -> io::Result<JoinHandle<Result<(), OpenError>>> {
    runtime::spawn("refresher".to_owned(), stage.clone(), move || {
        let done = run();
        if let Err(error) = &done {
            stage.fail(error.to_string());
        }
        done
    })
}

/// What is on its way to a log that others go on with may take so long, repetitions included.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
const FLUSH_LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Waits for the commands that are on their way. Who is answered has waited for its own: these are
/// of clients that have left.
fn flush(log: &Appender, within: Duration) {
    let watch = Stopwatch::start();
    while log.queued().0 > 0 && watch.elapsed() < within {
        thread::sleep(FLUSH_LOOK_AGAIN);
    }
}

/// A server without its HTTP side: log, store, feed, snapshot and their threads.
pub struct App {
    pub log: Appender,
    pub published: Arc<Published>,
    pub marks: Arc<Marks>,
    pub reader: Reader,
    pub metrics: Arc<Metrics>,
    pub stage: Stage,
    /// What it leans on; nothing when alone.
    pub links: Vec<Link>,
    /// Alone, who writes to the store.
    writer: Option<JoinHandle<()>>,
    refresher: JoinHandle<Result<(), OpenError>>,
    encoder: Encoder,
    /// Ends what does not end with the log.
    stop: CancellationToken,
    /// Given up last.
    data_dir: Option<DataDir>,
}

fn gauge_ready(metrics: &Metrics, stage: &Stage) {
    let stage = stage.clone();
    metrics.flag("ready", "Whether requests should be sent here", move || {
        stage.ready().is_ok()
    });
}

impl App {
    fn gauge(&self) {
        gauge_ready(&self.metrics, &self.stage);
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

    /// Waits until the todos are loaded, or cannot be: [`App::close`] says why.
    ///
    /// # Cancel safety
    /// Loading goes on.
    pub async fn loaded(&self) {
        tokio::select! {
            () = self.stage.started() => {}
            _ = self.stage.fault() => {}
        }
    }

    /// Takes no more writes; those that were taken are applied (alone) or durable (in a fleet, where
    /// `within` bounds the wait for that).
    ///
    /// # Errors
    /// Why the todos could not be loaded.
    pub fn close(self, within: Duration) -> Result<(), OpenError> {
        // The last to close the database is the writer, which tidies it up.
        drop(self.reader);
        self.log.close();
        if self.data_dir.is_none() {
            flush(&self.log, within.min(FLUSH_TIMEOUT));
        }
        self.stop.cancel();
        // A thread that panicked has said so.
        if let Some(writer) = self.writer {
            drop(writer.join());
        }
        let loaded = self.refresher.join().unwrap_or(Ok(()));
        self.encoder.stop();
        loaded
    }
}
