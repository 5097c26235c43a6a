//! The threads that serve: from their start to the last answer of the process.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use core_affinity::CoreId;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::{Signals, single_threaded_local, spawn};
use crate::clock::Stopwatch;
use crate::http::{self, Core, Newcomers, Place, Shared, Surface};
use crate::stage::{At, Stage};

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

/// Before there was anything to serve: nobody has been sent here, and every answer is there at once.
const BEFORE_SERVING: Shutdown = Shutdown {
    delay: Duration::ZERO,
    grace: Duration::from_millis(750),
};

/// After a fault what is being served is answered, and then somebody shall start the process anew.
const AFTER_FAULT: Shutdown = Shutdown {
    delay: Duration::ZERO,
    grace: Duration::from_secs(2),
};

/// The serving threads, one per listener.
pub struct Servers {
    threads: Vec<JoinHandle<usize>>,
    shared: Arc<Shared>,
    signals: Signals,
    cores: Cores,
    pins: Vec<CoreId>,
}

/// Why a process ends.
#[derive(Clone, Debug)]
pub enum Stop {
    Signal(&'static str),
    /// It cannot go on.
    Fault(String),
}

/// How a process has ended serving.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Whether it was asked to, and was left the time that it took.
    pub well: bool,
    /// What is left of the grace.
    pub left: Duration,
}

impl Servers {
    /// Without a listener yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, signals: Signals, cores: Cores) -> Self {
        let pins = if cores.pin {
            core_affinity::get_core_ids().unwrap_or_default()
        } else {
            vec![]
        };
        Self {
            threads: Vec::new(),
            shared,
            signals,
            cores,
            pins,
        }
    }

    /// Starts one thread per listener of a surface.
    ///
    /// # Errors
    /// Those of the system: no thread left.
    pub fn serve(&mut self, surface: Surface, listeners: Vec<TcpListener>) -> io::Result<()> {
        // The admin listener's cells come after those of the public ones.
        let first = match surface {
            Surface::Public => 0,
            Surface::Admin => self.cores.count,
        };
        let places = http::places(listeners.len());
        for (nth, (listener, place)) in (first..).zip(listeners.into_iter().zip(places)) {
            let pins = Some(&self.pins).filter(|_| surface == Surface::Public);
            let pin = pins.and_then(|pins| pins.get(nth % pins.len().max(1)).copied());
            let shared = Arc::clone(&self.shared);
            let stage = shared.stage.clone();
            self.threads
                .push(spawn(format!("serve-{nth}"), stage, move || {
                    if let Some(id) = pin {
                        core_affinity::set_for_current(id);
                    }
                    serve((shared, surface, nth), listener, place)
                })?);
        }
        Ok(())
    }

    /// Waits for a signal or a fault.
    ///
    /// # Cancel safety
    /// Neither is lost.
    pub async fn stopped(&mut self) -> Stop {
        tokio::select! {
            name = self.signals.next() => Stop::Signal(name),
            why = self.shared.stage.fault() => Stop::Fault(why),
        }
    }

    /// Waits until there is something to serve; what stops the process first is the error.
    ///
    /// # Errors
    /// [`Stop`]
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn started(&mut self) -> Result<(), Stop> {
        let stage = self.shared.stage.clone();
        tokio::select! {
            biased;
            stop = self.stopped() => Err(stop),
            () = stage.started() => Ok(()),
        }
    }

    /// Answers what was received, and ends.
    pub async fn drain(self, stop: Stop, shutdown: Shutdown) -> Ended {
        let Self {
            threads,
            shared,
            mut signals,
            ..
        } = self;
        let stage = shared.stage.clone();
        // The threads have it.
        drop(shared);
        let shutdown = match &stop {
            _ if stage.is_starting() => BEFORE_SERVING,
            Stop::Signal(_) => shutdown,
            Stop::Fault(_) => AFTER_FAULT,
        };
        match &stop {
            Stop::Signal(name) => {
                info!(signal = name, grace = ?shutdown.grace, "draining; a second signal stops at once");
            }
            Stop::Fault(why) => error!(why, "cannot go on"),
        }
        let watch = Stopwatch::start();
        let cut_off = tokio::select! {
            cut_off = drain(&stage, shutdown, join(threads)) => cut_off,
            name = signals.next() => {
                warn!(signal = name, "stopping at once");
                return Ended { well: false, left: CLOSING_TIME };
            }
        };
        if cut_off > 0 {
            warn!(
                requests = cut_off,
                "the grace was over before these were answered"
            );
        }
        info!(took = ?watch.elapsed(), "drained");
        Ended {
            well: matches!(stop, Stop::Signal(_)),
            left: shutdown.grace.saturating_sub(watch.elapsed()),
        }
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

fn serve(
    (shared, surface, nth): (Arc<Shared>, Surface, usize),
    listener: TcpListener,
    (place, newcomers): (Place, Newcomers),
) -> usize {
    let stage = shared.stage.clone();
    let metrics = shared.metrics.core(nth);
    let served = single_threaded_local().and_then(|runtime| {
        let core = Core::new(shared, surface, metrics, place);
        runtime.block_on(http::serve(core, listener, newcomers))
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
