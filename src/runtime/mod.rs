//! Threads, signals and the order in which the process ends.

mod work;

use std::io::{self, IsTerminal, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::ValueEnum;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

use crate::clock::Stopwatch;
use crate::http::{self, Core, Shared, Surface};
use crate::stage::{At, Stage};

pub use work::until_worked;

/// Serving threads.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub count: usize,
    pub pin: bool,
}

/// Times of the shutdown.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// From failing readiness to closing connections.
    pub delay: Duration,
    /// In all, the delay included.
    pub grace: Duration,
}

/// Kept back from the grace, for what comes after the last connection: the writer's last commit
/// and closing the store.
const CLOSING_TIME: Duration = Duration::from_millis(500);

/// After a fault what is being served is answered, and then somebody shall start the process anew.
const AFTER_FAULT: Shutdown = Shutdown {
    delay: Duration::ZERO,
    grace: Duration::from_secs(2),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for LogFormat {
    /// For people on a terminal, for machines elsewhere.
    fn default() -> Self {
        if io::stderr().is_terminal() {
            LogFormat::Text
        } else {
            LogFormat::Json
        }
    }
}

/// Sends log lines to stderr from a thread of its own. They are flushed when the guard is dropped.
pub fn log_to_stderr(format: LogFormat, filter: &str) -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking(io::stderr());
    let filter = EnvFilter::builder().parse_lossy(filter);
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer);
    match format {
        LogFormat::Text => logs
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    guard
}

/// A runtime for one thread.
///
/// # Errors
/// Those of making an event queue: no file left.
pub fn single_threaded() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Starts a thread with a name, as tools show it. The process cannot go on without it: a panic in it
/// is a fault.
///
/// # Errors
/// Those of the system: no thread left.
pub fn spawn<T: Send + 'static>(
    name: String,
    stage: Stage,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let watched = Watched {
        name: name.clone(),
        stage,
    };
    thread::Builder::new().name(name).spawn(move || {
        let _watched = watched;
        run()
    })
}

/// Reports the panic of the thread that it lies in.
struct Watched {
    name: String,
    stage: Stage,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if thread::panicking() {
            self.stage
                .fail(format!("the thread {} has panicked", self.name));
        }
    }
}

/// The serving threads, one per listener.
pub struct Servers {
    threads: Vec<JoinHandle<usize>>,
    shared: Arc<Shared>,
    /// Listened for before anybody is told that this process serves.
    signals: Signals,
}

impl Servers {
    /// Starts one thread per listener: the public ones, then the admin one if there is one. Called
    /// within a runtime, which listens for signals from here on.
    ///
    /// # Errors
    /// Those of the system: no thread or file left.
    pub fn start(
        shared: Arc<Shared>,
        public: Vec<TcpListener>,
        admin: Option<TcpListener>,
        cores: Cores,
    ) -> io::Result<Self> {
        let signals = Signals::new()?;
        let ids = if cores.pin {
            core_affinity::get_core_ids().unwrap_or_default()
        } else {
            vec![]
        };
        let surfaces = public
            .into_iter()
            .map(|listener| (Surface::Public, listener));
        let surfaces = surfaces.chain(admin.map(|listener| (Surface::Admin, listener)));
        let mut threads = Vec::new();
        for (nth, (surface, listener)) in surfaces.enumerate() {
            let pinned = ids.get(nth % ids.len().max(1)).copied();
            let shared = Arc::clone(&shared);
            let stage = shared.stage.clone();
            threads.push(spawn(format!("serve-{nth}"), stage, move || {
                if let Some(id) = pinned.filter(|_| surface == Surface::Public) {
                    core_affinity::set_for_current(id);
                }
                serve(shared, surface, nth, listener)
            })?);
        }
        Ok(Self {
            threads,
            shared,
            signals,
        })
    }

    /// Serves until a signal or a fault, then drains. Says whether the process ends well.
    pub async fn until_stopped(self, shutdown: Shutdown) -> bool {
        let Self {
            threads,
            shared,
            mut signals,
        } = self;
        let stage = shared.stage.clone();
        // The threads have it.
        drop(shared);
        let faulty = tokio::select! {
            name = signals.next() => {
                info!(signal = name, grace = ?shutdown.grace, "draining; a second signal stops at once");
                false
            }
            why = stage.fault() => {
                error!(why, "cannot go on");
                true
            }
        };
        let watch = Stopwatch::start();
        let shutdown = if faulty { AFTER_FAULT } else { shutdown };
        let drain = drain(&stage, shutdown, join(threads));
        let cut_off = tokio::select! {
            cut_off = drain => cut_off,
            name = signals.next() => {
                warn!(signal = name, "stopping at once");
                return false;
            }
        };
        if cut_off > 0 {
            warn!(
                requests = cut_off,
                "the grace was over before these were answered"
            );
        }
        info!(took = ?watch.elapsed(), "drained");
        !faulty
    }
}

/// Waits for the serving threads; says how many requests they cut off.
async fn join(threads: Vec<JoinHandle<usize>>) -> usize {
    let joined = tokio::task::spawn_blocking(move || {
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(0))
            .sum()
    });
    joined.await.unwrap_or(0)
}

fn serve(shared: Arc<Shared>, surface: Surface, nth: usize, listener: TcpListener) -> usize {
    let stage = shared.stage.clone();
    let metrics = shared.metrics.core(nth);
    let served = single_threaded().and_then(|runtime| {
        runtime.block_on(http::serve(Core::new(shared, surface, metrics), listener))
    });
    served.unwrap_or_else(|error| {
        stage.fail(format!("a serving thread cannot run: {error}"));
        0
    })
}

/// Readiness first, then the connections, then the end of the grace.
async fn drain(stage: &Stage, shutdown: Shutdown, serving: impl Future<Output = usize>) -> usize {
    stage.advance(At::Leaving);
    sleep(shutdown.delay).await;
    stage.advance(At::Draining);
    let mut serving = std::pin::pin!(serving);
    let left = shutdown
        .grace
        .saturating_sub(shutdown.delay)
        .saturating_sub(CLOSING_TIME);
    if let Ok(cut_off) = timeout(left, &mut serving).await {
        return cut_off;
    }
    stage.advance(At::Over);
    serving.await
}

/// The signals that end the process: SIGTERM of a supervisor, SIGINT of a terminal.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancel safe.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Keeps the kernel from backing memory with huge pages: with many connections it makes whole ones
/// resident for the few bytes of each buffer that are ever touched, about twice the memory.
pub fn keep_pages_small() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        warn!(%error, "cannot turn huge pages off: memory will look larger");
    }
}

/// Raises the soft limit on open files to the hard one: every connection is a file.
pub fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        warn!(%error, "cannot raise the limit on open files");
    }
}

/// Tells who started the process that it serves: one line on stdout.
///
/// # Errors
/// Those of writing.
pub fn announce(address: std::net::SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on http://{address}")?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_is_a_fault() {
        let stage = Stage::default();
        stage.advance(At::Serving);
        let fine = spawn("fine".to_owned(), stage.clone(), || ()).unwrap();
        fine.join().unwrap();
        assert!(stage.ready().is_ok());
        let run = || panic!("on purpose");
        let thread = spawn::<()>("doomed".to_owned(), stage.clone(), run).unwrap();
        assert!(thread.join().is_err());
        assert!(stage.ready().is_err());
    }
}
