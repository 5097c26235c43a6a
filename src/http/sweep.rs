//! The connections of one core, and the sweep that ends the late ones.
//!
//! One timer a core looks at every connection once a tick. A deadline is therefore met within
//! one tick, which for time-outs of seconds is exact enough, and costs a connection nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;
use tokio::time::{MissedTickBehavior, interval};

use super::Options;
use super::socket::{End, Phase, Socket, Tick};

/// How often connections are looked at: a tenth of the shortest sensible deadline (1 s).
pub const TICK: Duration = Duration::from_millis(100);

/// The open connections of one core.
pub struct Connections {
    open: RefCell<Slab<Rc<Socket>>>,
    now: Rc<Cell<Tick>>,
    limits: Limits,
}

/// Deadlines in ticks.
struct Limits {
    head: Tick,
    idle: Tick,
    write: Tick,
}

impl Connections {
    pub fn new(options: &Options) -> Self {
        let limits = Limits {
            head: ticks(options.head_timeout),
            idle: ticks(options.idle_timeout),
            write: ticks(options.write_timeout),
        };
        Self {
            open: RefCell::default(),
            now: Rc::default(),
            limits,
        }
    }

    pub fn clock(&self) -> Rc<Cell<Tick>> {
        Rc::clone(&self.now)
    }

    /// Enters a connection; it leaves when the returned guard is dropped.
    pub fn enter(self: &Rc<Self>, socket: &Rc<Socket>) -> Entered {
        let key = self.open.borrow_mut().insert(Rc::clone(socket));
        Entered {
            connections: Rc::clone(self),
            key,
        }
    }

    /// Ends the connection that has been idle longest, to make room. Says whether there was one.
    pub fn evict_idlest(&self) -> bool {
        let open = self.open.borrow();
        let sockets = open.iter().map(|(_, socket)| socket);
        let idle = sockets.filter(|socket| socket.phase() == Phase::Idle && !socket.has_ended());
        match idle.max_by_key(|socket| socket.lasted()) {
            Some(idlest) => {
                idlest.end(End::Evicted);
                true
            }
            None => false,
        }
    }

    /// Ends every connection; returns how many of them were serving a request.
    pub fn end_all(&self) -> usize {
        let open = self.open.borrow();
        let serving = open
            .iter()
            .filter(|(_, socket)| socket.phase() != Phase::Idle)
            .count();
        for (_, socket) in open.iter() {
            socket.end(End::Evicted);
        }
        serving
    }

    /// Ends late connections, for ever; `each_tick` is called with every look.
    pub async fn sweep(&self, each_tick: impl Fn()) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            each_tick();
            self.now.set(self.now.get().saturating_add(1));
            for (_, socket) in self.open.borrow().iter() {
                if let Some(why) = self.limits.exceeded_by(socket) {
                    socket.end(why);
                }
            }
        }
    }
}

impl Limits {
    fn exceeded_by(&self, socket: &Socket) -> Option<End> {
        if socket.stalled().is_some_and(|ticks| ticks > self.write) {
            return Some(End::ReaderStalled);
        }
        match socket.phase() {
            Phase::Idle if socket.lasted() > self.idle => Some(End::IdleTooLong),
            Phase::Head if socket.lasted() > self.head => Some(End::HeadTooSlow),
            _ => None,
        }
    }
}

/// At least one tick.
fn ticks(time: Duration) -> Tick {
    let ticks = time.as_millis().div_ceil(TICK.as_millis());
    Tick::try_from(ticks).unwrap_or(Tick::MAX).max(1)
}

/// A connection's place among the open ones, given up by its `Drop`.
pub struct Entered {
    connections: Rc<Connections>,
    key: usize,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.connections.open.borrow_mut().remove(self.key);
    }
}
