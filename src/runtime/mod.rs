//! Threads, signals and the order in which the process ends.

mod servers;
mod work;

use std::io::{self, IsTerminal, Write};
use std::process;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::ValueEnum;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

use crate::stage::Stage;

pub use servers::{Cores, Ended, Servers, Shutdown, Stop};
pub use work::until_worked;

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

/// The same for tasks that stay on it: `spawn_local` needs no `LocalSet`, which would have a queue
/// and a waker of its own beside the runtime's.
///
/// # Errors
/// Those of making an event queue: no file left.
pub fn single_threaded_local() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
}

/// A runtime for one thread, and the signals that end the process: the first thing that a process
/// makes which others may stop.
///
/// # Errors
/// Those of the system.
pub fn with_signals() -> io::Result<(Runtime, Signals)> {
    let runtime = single_threaded()?;
    let signals = runtime.block_on(async { Signals::new() })?;
    Ok((runtime, signals))
}

/// Has signals end the process where it is the first of a container: to that one the system does not
/// do it. The status is the one that shells give for it.
///
/// # Errors
/// Those of the system: no thread left.
pub fn end_by_signal() -> io::Result<()> {
    if process::id() != 1 {
        return Ok(());
    }
    let (runtime, mut signals) = with_signals()?;
    let wait = move || {
        let status = match runtime.block_on(signals.next()) {
            "SIGINT" => 128 + 2,
            _ => 128 + 15,
        };
        process::exit(status);
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map(drop)
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

/// Does what ends a process, for at most `limit`: what hangs then, a broker or a disk, is left where
/// it is. Nothing that was acknowledged hangs on it.
///
/// # Errors
/// Those of the system: no thread left.
pub fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (sender, done) = mpsc::channel();
    thread::Builder::new()
        .name("closing".to_owned())
        .spawn(move || drop(sender.send(work())))?;
    let done = done.recv_timeout(limit).ok();
    if done.is_none() {
        warn!(?limit, "left before all was closed");
    }
    Ok(done)
}

/// The signals that end the process: SIGTERM of a supervisor, SIGINT of a terminal. From when this
/// is there they do not end it by themselves: it comes before all that may take time.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Called within a runtime.
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
    use crate::stage::At;

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
