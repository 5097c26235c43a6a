//! How far this server's snapshot has got in each partition, and who waits for it to get there.
//!
//! Asking whether a position has passed is one atomic load. Waiting, and asking what became of a
//! recent command, takes the partition's lock for moments; waiters are woken outside it.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use crossbeam_utils::CachePadded;
use tokio::sync::oneshot;

use crate::domain::{Applied, Position, Recorded};

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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::domain::{Outcome, Range, Rejection};

    fn at(offset: u64) -> Position {
        Position {
            partition: 0,
            offset,
        }
    }

    fn rejected(offset: u64) -> Recorded {
        Recorded {
            position: at(offset),
            user: "alice".into(),
            outcome: Outcome::Rejected(Rejection::NotFound),
        }
    }

    fn applied(from: u64, to: u64, exceptional: &[u64]) -> Applied {
        Applied {
            range: Range {
                partition: 0,
                from,
                to,
            },
            changes: vec![],
            outcomes: exceptional.iter().map(|&offset| rejected(offset)).collect(),
        }
    }

    fn poll(waiting: &mut Waiting) -> Poll<Passed> {
        Pin::new(waiting).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn waiters(marks: &Marks) -> usize {
        marks.partitions[0].lock().waiting.len()
    }

    #[test]
    fn a_mark_passes_what_lies_below_it() {
        let marks = Marks::new(&[5, 0], 10);
        assert_eq!(marks.passed(at(4)), Some(true));
        assert_eq!(marks.passed(at(5)), Some(false));
        marks.advance(&[applied(5, 8, &[])]);
        assert_eq!(marks.passed(at(7)), Some(true));
        assert_eq!(marks.positions(), [8, 0]);
        let nowhere = Position {
            partition: 2,
            offset: 0,
        };
        assert_eq!(marks.passed(nowhere), None);
        assert_eq!(marks.recent(nowhere), None);
    }

    #[test]
    fn who_waits_is_told_when_it_passes() {
        let marks = Arc::new(Marks::new(&[0], 10));
        let mut plain = marks.wait(at(1));
        let mut exceptional = [marks.wait(at(2)), marks.wait(at(2))];
        let mut later = marks.wait(at(3));
        marks.advance(&[applied(0, 3, &[2])]);
        assert_eq!(poll(&mut plain), Poll::Ready(Passed::Applied));
        for waiting in &mut exceptional {
            let passed = Passed::Exceptional(rejected(2));
            assert_eq!(poll(waiting), Poll::Ready(passed));
        }
        assert_eq!(poll(&mut later), Poll::Pending);
        marks.advance(&[applied(3, 4, &[])]);
        assert_eq!(poll(&mut later), Poll::Ready(Passed::Applied));
    }

    #[test]
    fn who_comes_late_is_told_from_memory_or_sent_to_the_store() {
        let marks = Arc::new(Marks::new(&[2], 2));
        marks.advance(&[applied(2, 9, &[3, 5, 7])]);
        let passed = |offset| match poll(&mut marks.wait(at(offset))) {
            Poll::Ready(passed) => {
                assert_eq!(marks.recent(at(offset)), Some(passed.clone()));
                passed
            }
            Poll::Pending => panic!("{offset} was passed"),
        };
        assert_eq!(passed(1), Passed::LookUp, "before the start");
        assert_eq!(passed(3), Passed::LookUp, "no longer in memory");
        assert_eq!(passed(4), Passed::Applied);
        assert_eq!(passed(5), Passed::Exceptional(rejected(5)));
        assert_eq!(passed(8), Passed::Applied);
        assert_eq!(marks.recent(at(9)), None);
    }

    #[test]
    fn what_a_reload_passed_is_looked_up() {
        let marks = Arc::new(Marks::new(&[0], 10));
        marks.advance(&[applied(0, 2, &[1])]);
        let mut skipped = marks.wait(at(3));
        marks.advance(&[applied(5, 6, &[5])]);
        assert_eq!(poll(&mut skipped), Poll::Ready(Passed::LookUp));
        assert_eq!(marks.recent(at(1)), Some(Passed::LookUp));
        let recent = marks.recent(at(5));
        assert_eq!(recent, Some(Passed::Exceptional(rejected(5))));
    }

    #[test]
    fn a_late_or_doubled_record_moves_nothing() {
        let marks = Marks::new(&[0], 10);
        let record = applied(0, 3, &[1]);
        for _ in 0..2 {
            marks.advance(std::slice::from_ref(&record));
            marks.advance(&[applied(1, 2, &[])]);
        }
        assert_eq!(marks.positions(), [3]);
        assert_eq!(marks.partitions[0].lock().recent.len(), 1);
    }

    #[test]
    fn a_dropped_wait_leaves_nothing_behind() {
        let marks = Arc::new(Marks::new(&[0], 10));
        let mut kept = marks.wait(at(0));
        let dropped: Vec<Waiting> = (0..1000).map(|nth| marks.wait(at(nth % 10))).collect();
        assert_eq!(waiters(&marks), 1001);
        drop(dropped);
        assert_eq!(waiters(&marks), 1);
        marks.advance(&[applied(0, 1, &[])]);
        assert_eq!(waiters(&marks), 0);
        assert_eq!(poll(&mut kept), Poll::Ready(Passed::Applied));
        drop(kept);
        assert_eq!(Arc::strong_count(&marks), 1);
    }

    #[test]
    fn no_wake_is_lost_between_threads() {
        const OFFSETS: u64 = 2000;
        let marks = Arc::new(Marks::new(&[0], 100));
        let advancing = Arc::clone(&marks);
        let advancer = std::thread::spawn(move || {
            for from in 0..OFFSETS {
                let exceptional: &[u64] = if from % 3 == 0 { &[from] } else { &[] };
                advancing.advance(&[applied(from, from + 1, exceptional)]);
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            for offset in 0..OFFSETS {
                let passed = marks.wait(at(offset)).await;
                assert_eq!(marks.passed(at(offset)), Some(true));
                let told = match passed {
                    Passed::Applied => offset % 3 != 0,
                    Passed::Exceptional(recorded) => recorded == rejected(offset),
                    Passed::LookUp => true,
                };
                assert!(told, "{offset}");
            }
        });
        advancer.join().unwrap();
        assert_eq!(waiters(&marks), 0);
    }
}
