//! What one serving core has, and its life: accept, serve, drain.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::StatusCode;
use hyper::header::HeaderMap;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;
use tracing::warn;

use super::balance::{Newcomer, Newcomers, Place, Seat};
use super::hot::{Answers, Desk};
use super::response::Problem;
use super::sweep::{self, Connections};
use super::tokens::Tokens;
use super::wakes::Wakes;
use super::{Shared, connection, listener};
use crate::metrics::CoreMetrics;
use crate::snapshot::{Pin, Reader};
use crate::{clock, limit};

/// Connections to the admin listener at once: some scrapers and probes, and people.
const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Connections taken off the backlog in a drain between two looks at those that are served.
const BACKLOG_TURN: usize = 64;

/// Bytes that one read takes from a socket, at most: more would only fill a core's cache.
const READ_BYTES_MAX: usize = 64 << 10;

/// What a listener shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// The API and, unless they have a listener of their own, the metrics and the dashboard.
    Public,
    /// Health, readiness, metrics and the dashboard only.
    Admin,
}

/// The state of one serving core. Single-threaded: shared by its connections through `Rc`.
pub struct Core {
    pub shared: Arc<Shared>,
    pub surface: Surface,
    pub metrics: Arc<CoreMetrics>,
    place: Place,
    pub(super) connections: Rc<Connections>,
    /// Where reads land first, whoever they are for.
    pub(super) input: RefCell<Box<[u8]>>,
    pub(super) desk: RefCell<Desk>,
    pub(super) limits: limit::Core,
    tokens: RefCell<Tokens>,
    /// What other threads complete is waited for with these.
    pub(super) wakes: Wakes,
    reader: RefCell<Reader>,
    /// Told whenever a connection has closed.
    closed: Notify,
}

impl Core {
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        surface: Surface,
        metrics: Arc<CoreMetrics>,
        place: Place,
    ) -> Self {
        let connections = Rc::new(Connections::new(&shared.options));
        let reader = RefCell::new(shared.published.reader());
        let answers = Answers::new(shared.options.cache_control.clone(), clock::now());
        let limits = shared.limiter.core();
        Self {
            shared,
            surface,
            metrics,
            place,
            connections,
            input: RefCell::new(vec![0; READ_BYTES_MAX].into_boxed_slice()),
            desk: Desk::new(answers),
            limits,
            tokens: RefCell::default(),
            wakes: Wakes::default(),
            reader,
            closed: Notify::new(),
        }
    }

    /// Whether the hot loop has the connections, and not hyper.
    pub(super) fn is_hot(&self) -> bool {
        self.shared.options.hot_path && self.surface == Surface::Public
    }

    /// The user of a request; see [`Authenticator::user`](super::auth::Authenticator::user).
    pub fn user(&self, headers: &HeaderMap) -> Result<String, Problem> {
        let tokens = &mut self.tokens.borrow_mut();
        self.shared.auth.user(headers, tokens, clock::now())
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Pin {
        self.reader.borrow_mut().current()
    }

    /// What is looked after once a tick.
    fn tick(&self) {
        let snapshot = self.snapshot();
        self.desk.borrow_mut().answers.tick(clock::now(), &snapshot);
        // Room that another core could not make.
        if self.shared.crowded.load(Ordering::Relaxed) && self.connections.evict_idlest() {
            self.shared.crowded.store(false, Ordering::Relaxed);
        }
    }
}

/// Serves what comes to `listener` and what other cores pass on, until the process drains and every
/// connection is done, or the drain's grace is over. Returns the number of requests that were cut
/// off then: 0 after a clean drain.
///
/// Within a `LocalRuntime`.
pub async fn serve(
    core: Core,
    listener: std::net::TcpListener,
    mut newcomers: Newcomers,
) -> io::Result<usize> {
    let listener = TcpListener::from_std(listener)?;
    let core = Rc::new(core);
    let sweep = spawn_local({
        let core = Rc::clone(&core);
        async move {
            core.connections.sweep(|| core.tick()).await;
        }
    });
    let telling = spawn_local({
        let core = Rc::clone(&core);
        async move { core.wakes.tell().await }
    });
    let stage = core.shared.stage.clone();
    let is_limited =
        core.surface == Surface::Public && core.shared.options.admission.limits_anything();
    if is_limited {
        core.limits.start();
    }
    take(&core, &listener, &mut newcomers).await;
    // What the kernel has accepted is served: closing the listener would reset it.
    let mut taken = 0;
    while let Some(stream) = listener::accept_waiting(&listener) {
        admit(&core, stream, core.place.seat());
        taken += 1;
        if taken % BACKLOG_TURN == 0 {
            tokio::select! {
                biased;
                () = stage.over() => break,
                () = yield_now() => {}
            }
        }
    }
    drop(listener);
    while let Some(newcomer) = newcomers.recv().await {
        welcome(&core, newcomer);
    }
    let cut_off = tokio::select! {
        () = drained(&core) => 0,
        () = stage.over() => end_all(&core).await,
    };
    core.limits.close().await;
    sweep.abort();
    telling.abort();
    Ok(cut_off)
}

/// Takes connections until the process drains. From then on other cores pass none on.
async fn take(core: &Rc<Core>, listener: &TcpListener, newcomers: &mut Newcomers) {
    // Beside one another: a pause after an error of one is not cut short by the other.
    let accepted = async {
        loop {
            settle(core, listener::accept(listener).await);
        }
    };
    let passed_on = async {
        while let Some(newcomer) = newcomers.recv().await {
            welcome(core, newcomer);
        }
    };
    tokio::select! {
        () = accepted => {}
        () = passed_on => {}
        () = core.shared.stage.draining() => {}
    }
    newcomers.close();
}

/// Serves a connection here, or has the core serve it that shall have it.
fn settle(core: &Rc<Core>, stream: TcpStream) {
    let seat = core.place.choose();
    if core.place.is_of(&seat) {
        return admit(core, stream, seat);
    }
    let passed_on = stream.into_std().map(|stream| {
        let newcomer = Newcomer { stream, seat };
        newcomer.pass_on()
    });
    match passed_on {
        Ok(Ok(())) => core.metrics.connection_passed_on(),
        Ok(Err(stream)) => {
            let seat = core.place.seat();
            welcome(core, Newcomer { stream, seat });
        }
        Err(error) => lost(&error),
    }
}

/// Serves a connection that a core has accepted, this one or another.
fn welcome(core: &Rc<Core>, newcomer: Newcomer) {
    let Newcomer { stream, seat } = newcomer;
    match TcpStream::from_std(stream) {
        Ok(stream) => admit(core, stream, seat),
        Err(error) => lost(&error),
    }
}

fn lost(error: &io::Error) {
    warn!(%error, "a connection was lost between two cores");
}

fn admit(core: &Rc<Core>, stream: TcpStream, seat: Seat) {
    let admitted = Admitted::new(core, seat);
    spawn_local(async move {
        let core = &admitted.core;
        if admitted.has_room {
            connection::serve(Rc::clone(core), stream).await;
        } else {
            core.metrics.refused(StatusCode::SERVICE_UNAVAILABLE);
            connection::turn_away(core, stream).await;
        }
    });
}

/// A connection's share of the counts, given up by its `Drop`: also when its task panics.
struct Admitted {
    core: Rc<Core>,
    _seat: Seat,
    has_room: bool,
}

impl Admitted {
    fn new(core: &Rc<Core>, seat: Seat) -> Self {
        core.metrics.connection_opened();
        let most = match core.surface {
            // Who looks after an overloaded server gets through.
            Surface::Admin => ADMIN_CONNECTIONS_MAX,
            Surface::Public => core.shared.options.connections_max,
        };
        let has_room = seat.before < most || core.connections.evict_idlest();
        if !has_room && core.surface == Surface::Public {
            core.shared.crowded.store(true, Ordering::Relaxed);
        }
        Self {
            core: Rc::clone(core),
            _seat: seat,
            has_room,
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.core.metrics.connection_closed();
        self.core.closed.notify_one();
    }
}

/// Ends every connection, also one whose task has not begun yet; says how many requests were being
/// served.
async fn end_all(core: &Core) -> usize {
    let cut_off = core.connections.end_all();
    loop {
        tokio::select! {
            () = drained(core) => return cut_off,
            () = sleep(sweep::TICK) => drop(core.connections.end_all()),
        }
    }
}

/// Waits until the last connection is gone.
async fn drained(core: &Core) {
    while core.metrics.connections_open() > 0 {
        core.closed.notified().await;
    }
}
