//! How far this server's snapshot has got in each partition, and who waits for it to get there.
//!
//! Asking whether a position has passed is one atomic load. Waiting, and asking what became of a
//! recent command, takes the partition's lock for moments; waiters are woken outside it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use crossbeam_utils::CachePadded;
use tokio::sync::oneshot;

use crate::domain::{Applied, Position, Range, Recorded};

/// What became of a command whose position the mark has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// Plainly applied.
    Applied,
    Exceptional(Recorded),
    /// Not known in memory: ask the store.
    LookUp,
}

pub struct Marks {
    partitions: Box<[Partition]>,
    /// Exceptional outcomes that a partition keeps in memory.
    recent_max: usize,
}

struct Partition {
    /// The first offset that the snapshot does not include. Written under the lock only.
    mark: CachePadded<AtomicU64>,
    state: Mutex<State>,
}

struct State {
    /// Invariant: every key's offset is at or above the mark. The ticket tells waiters for one
    /// offset apart.
    waiting: BTreeMap<(u64, u64), oneshot::Sender<Passed>>,
    next_ticket: u64,
    /// Exceptional outcomes by offset, newest at the back.
    recent: VecDeque<Recorded>,
    /// Invariant: every exceptional outcome from here to the mark is in `recent`.
    recent_from: u64,
}

impl Marks {
    /// `positions` are those of the first snapshot, by partition. `recent_max` bounds the
    /// exceptional outcomes kept in memory, all partitions together.
    #[must_use]
    pub fn new(positions: &[u64], recent_max: usize) -> Self {
        let partition = |&mark: &u64| Partition {
            mark: CachePadded::new(AtomicU64::new(mark)),
            state: Mutex::new(State {
                waiting: BTreeMap::new(),
                next_ticket: 0,
                recent: VecDeque::new(),
                recent_from: mark,
            }),
        };
        Self {
            partitions: positions.iter().map(partition).collect(),
            recent_max: recent_max / positions.len().max(1),
        }
    }

    /// The snapshot that is now published includes these. A range that begins beyond the mark
    /// (after a reload) leaves a gap in what is known; one that ends below it is dropped.
    pub fn advance(&self, applied: &[Applied]) {
        for one in applied {
            let Some(partition) = self.partitions.get(usize::from(one.range.partition)) else {
                continue;
            };
            for (waiter, passed) in partition.advance(one, self.recent_max) {
                // A waiter that has gone meanwhile misses nothing.
                drop(waiter.send(passed));
            }
        }
    }

    /// The snapshot that is now published was loaded and includes all before these positions. What
    /// became of what is passed so, the store knows.
    pub fn jump(&self, positions: &[u64]) {
        let passed = |(partition, &to): (u16, &u64)| Applied {
            range: Range {
                partition,
                from: to,
                to,
            },
            changes: Vec::new(),
            outcomes: Vec::new(),
        };
        let passed: Vec<Applied> = (0..).zip(positions).map(passed).collect();
        self.advance(&passed);
    }

    /// Whether the published snapshot includes the position; `None`: there is no such partition.
    #[must_use]
    pub fn passed(&self, position: Position) -> Option<bool> {
        let partition = self.partition(position)?;
        Some(position.offset < partition.mark.load(Ordering::Acquire))
    }

    /// The mark per partition.
    #[must_use]
    pub fn positions(&self) -> Vec<u64> {
        let mark = |partition: &Partition| partition.mark.load(Ordering::Acquire);
        self.partitions.iter().map(mark).collect()
    }

    /// What became of a position, as far as memory tells; `None` while it is not passed or where
    /// there is no such partition.
    #[must_use]
    pub fn recent(&self, position: Position) -> Option<Passed> {
        if !self.passed(position)? {
            return None;
        }
        Some(self.partition(position)?.lock().look_up(position))
    }

    /// Waits until the mark has passed a position. A partition that is not there is `LookUp`.
    pub fn wait(self: &Arc<Self>, position: Position) -> Waiting {
        let ready = |passed| Waiting(Stage::Ready(passed));
        let Some(partition) = self.partition(position) else {
            return ready(Passed::LookUp);
        };
        // Under the lock the mark stands still: registering and comparing are one step.
        let mut state = partition.lock();
        if position.offset < partition.mark.load(Ordering::Relaxed) {
            return ready(state.look_up(position));
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let (waiter, passed) = oneshot::channel();
        state.waiting.insert((position.offset, ticket), waiter);
        Waiting(Stage::Registered(Registered {
            marks: Arc::clone(self),
            position,
            ticket,
            passed,
        }))
    }

    fn partition(&self, position: Position) -> Option<&Partition> {
        self.partitions.get(usize::from(position.partition))
    }
}

impl Partition {
    /// No step under the lock panics, and each leaves the state whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the mark and returns whom to tell what.
    fn advance(
        &self,
        applied: &Applied,
        recent_max: usize,
    ) -> Vec<(oneshot::Sender<Passed>, Passed)> {
        let range = applied.range;
        let mut state = self.lock();
        let mark = self.mark.load(Ordering::Relaxed);
        if range.to <= mark {
            return Vec::new();
        }
        if range.from > mark {
            state.recent.clear();
            state.recent_from = range.from;
        }
        state.remember(applied, recent_max);
        self.mark.store(range.to, Ordering::Release);
        let still_waiting = state.waiting.split_off(&(range.to, 0));
        let woken = mem::replace(&mut state.waiting, still_waiting);
        let tell = |((offset, _), waiter)| {
            let position = Position {
                partition: range.partition,
                offset,
            };
            (waiter, state.look_up(position))
        };
        woken.into_iter().map(tell).collect()
    }
}

impl State {
    fn remember(&mut self, applied: &Applied, recent_max: usize) {
        let newest = self.recent.back().map(|last| last.position.offset);
        let new = |one: &&Recorded| Some(one.position.offset) > newest;
        self.recent
            .extend(applied.outcomes.iter().filter(new).cloned());
        while self.recent.len() > recent_max {
            if let Some(oldest) = self.recent.pop_front() {
                self.recent_from = oldest.position.offset + 1;
            }
        }
    }

    /// For a position below the mark.
    fn look_up(&self, position: Position) -> Passed {
        let offset = |one: &Recorded| one.position.offset;
        match self.recent.binary_search_by_key(&position.offset, offset) {
            Ok(at) => Passed::Exceptional(self.recent[at].clone()),
            Err(_) if position.offset < self.recent_from => Passed::LookUp,
            Err(_) => Passed::Applied,
        }
    }
}

/// A wait for a position. Dropping it unregisters it.
#[must_use]
pub struct Waiting(Stage);

enum Stage {
    Ready(Passed),
    Registered(Registered),
}

struct Registered {
    marks: Arc<Marks>,
    position: Position,
    ticket: u64,
    passed: oneshot::Receiver<Passed>,
}

impl Future for Waiting {
    type Output = Passed;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Passed> {
        match &mut self.0 {
            Stage::Ready(passed) => Poll::Ready(passed.clone()),
            Stage::Registered(registered) => Pin::new(&mut registered.passed)
                .poll(context)
                .map(|passed| passed.unwrap_or(Passed::LookUp)),
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // Woken already: no lock to take.
        if self.passed.is_terminated() {
            return;
        }
        if let Some(partition) = self.marks.partition(self.position) {
            let key = (self.position.offset, self.ticket);
            let waiter = partition.lock().waiting.remove(&key);
            drop(waiter);
        }
    }
}
