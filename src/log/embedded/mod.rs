//! The log of a process that works alone: a bounded queue in memory, in front of the store.
//!
//! It keeps nothing itself. A command is durable once the worker has committed the batch that
//! holds it, so that is when it is acknowledged; while a batch is committed the next one gathers
//! (group commit). Offsets are given when a batch is handed out, beginning at the store's
//! position, so that they have no gaps and start again where the store stands.

mod gather;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use self::gather::Gather;
use super::{AppendError, Linger, Options, Strange};
use crate::clock::{Clock, Stopwatch};
use crate::domain::{Batch, Command, Payload, Position, Range, Record, Stored};

/// The one partition there is.
const PARTITION: u16 = 0;

type Settled = Result<Position, AppendError>;

struct Entry {
    command: Command,
    size_bytes: usize,
    appender: oneshot::Sender<Settled>,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// Invariant: the sum of the entries' sizes.
    size_bytes: usize,
    /// Whether the consumer waits for the next entry, be it the first or not.
    gathers: bool,
    /// Whether one found no room since a batch was last taken.
    is_short: bool,
    closed: bool,
}

struct Shared {
    options: Options,
    queue: Mutex<Queue>,
    /// Told when an entry arrives that is the first or waited for, when a batch or the queue is full
    /// and when that is closed.
    arrived: Notify,
}

/// Opens a log whose next command stands at `next_offset`.
#[must_use]
pub fn open(options: Options, next_offset: u64, clock: Clock) -> (Appender, Consumer) {
    let shared = Arc::new(Shared {
        options,
        queue: Mutex::default(),
        arrived: Notify::new(),
    });
    let appender = Appender {
        end: Arc::new(End {
            shared: Arc::clone(&shared),
        }),
    };
    let consumer = Consumer {
        pace: match shared.options.linger {
            Some(time) => Pace::Linger(Linger::new(time)),
            None => Pace::Gather(Gather::new()),
        },
        shared,
        clock,
        next_offset,
        handed_out: Vec::new(),
    };
    (appender, consumer)
}

impl Shared {
    /// No step under the lock leaves the queue half changed, so a panic elsewhere spoils nothing.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, entry: Entry) -> Result<(), AppendError> {
        let mut queue = self.lock();
        let size_bytes = queue.size_bytes + entry.size_bytes;
        if queue.closed
            || queue.entries.len() >= self.options.queue_commands_max
            || size_bytes > self.options.queue_bytes_max
        {
            let tell = !mem::replace(&mut queue.is_short, true);
            drop(queue);
            if tell {
                self.arrived.notify_one();
            }
            return Err(AppendError::NotEnqueued);
        }
        queue.size_bytes = size_bytes;
        queue.entries.push_back(entry);
        let tell = queue.gathers || queue.entries.len() == 1 || self.fills_a_batch(&queue);
        drop(queue);
        if tell {
            self.arrived.notify_one();
        }
        Ok(())
    }

    fn fills_a_batch(&self, queue: &Queue) -> bool {
        queue.entries.len() >= self.options.batch_commands_max
            || queue.size_bytes >= self.options.batch_bytes_max
    }

    /// Whether nothing is to be waited for.
    fn is_due(&self, queue: &Queue) -> bool {
        queue.closed || queue.is_short || self.fills_a_batch(queue)
    }

    /// Waits until a batch is due.
    async fn filled(&self) {
        loop {
            if self.is_due(&self.lock()) {
                return;
            }
            self.arrived.notified().await;
        }
    }

    /// Waits for as many entries as pays.
    async fn gather(&self, gather: &mut Gather) {
        let mut waiting = gather.begin();
        let first = self.lock().entries.len();
        let last = loop {
            let (commands, left) = {
                let mut queue = self.lock();
                let commands = queue.entries.len();
                let is_due = self.is_due(&queue);
                let left = waiting.time_left(commands).filter(|_| !is_due);
                queue.gathers = left.is_some();
                (commands, left)
            };
            let Some(left) = left else {
                break commands;
            };
            let watch = Stopwatch::start();
            // Whether one came shows in the queue.
            drop(timeout(left, self.arrived.notified()).await);
            waiting.waited(commands, watch.elapsed());
        };
        gather.end(&waiting, first, last);
    }

    /// Takes up to a batch off the front; at least one where there is one.
    fn take(&self) -> VecDeque<Entry> {
        let mut queue = self.lock();
        queue.is_short = false;
        if !self.fills_a_batch(&queue) {
            queue.size_bytes = 0;
            let room = VecDeque::with_capacity(queue.entries.len());
            return mem::replace(&mut queue.entries, room);
        }
        let (mut count, mut size_bytes) = (0, 0);
        for entry in queue.entries.iter().take(self.options.batch_commands_max) {
            if count > 0 && size_bytes + entry.size_bytes > self.options.batch_bytes_max {
                break;
            }
            count += 1;
            size_bytes += entry.size_bytes;
        }
        queue.size_bytes -= size_bytes;
        queue.entries.drain(..count).collect()
    }

    fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }
}

/// Closes the log when the last appender is dropped.
struct End {
    shared: Arc<Shared>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.shared.close();
    }
}

#[derive(Clone)]
pub struct Appender {
    end: Arc<End>,
}

impl Appender {
    pub(super) async fn append(&self, command: Command) -> Settled {
        let (appender, settled) = oneshot::channel();
        self.end.shared.push(Entry {
            size_bytes: command.size_bytes(),
            command,
            appender,
        })?;
        // The consumer answers everyone, also when it is dropped. Should it not, nothing is known.
        settled.await.unwrap_or(Err(AppendError::Unknown))
    }

    pub(super) fn queued(&self) -> (usize, usize) {
        let queue = self.end.shared.lock();
        (queue.entries.len(), queue.size_bytes)
    }

    pub(super) fn close(&self) {
        self.end.shared.close();
    }
}

/// What a batch waits for.
enum Pace {
    Linger(Linger),
    Gather(Gather),
}

pub struct Consumer {
    shared: Arc<Shared>,
    clock: Clock,
    pace: Pace,
    /// Where the next command to be handed out will stand.
    next_offset: u64,
    /// Who waits for the batch handed out. Invariant: their commands end before `next_offset`.
    handed_out: Vec<oneshot::Sender<Settled>>,
}

impl Consumer {
    pub(super) async fn next(&mut self) -> Option<Batch> {
        self.refuse(AppendError::Unknown);
        loop {
            let (empty, closed) = {
                let queue = self.shared.lock();
                (queue.entries.is_empty(), queue.closed)
            };
            if !empty {
                break;
            }
            if closed {
                return None;
            }
            self.shared.arrived.notified().await;
        }
        match &mut self.pace {
            Pace::Linger(linger) => {
                let left = linger.left();
                if !left.is_zero() {
                    // Full in time or not, what is there is taken.
                    drop(timeout(left, self.shared.filled()).await);
                }
                linger.begin();
            }
            Pace::Gather(gather) => self.shared.gather(gather).await,
        }
        Some(self.hand_out())
    }

    fn hand_out(&mut self) -> Batch {
        let entries = self.shared.take();
        let appended_at = (self.clock)();
        let from = self.next_offset;
        let mut records = Vec::with_capacity(entries.len());
        self.handed_out.reserve(entries.len());
        for entry in entries {
            records.push(Record {
                position: self.next_position(),
                appended_at,
                payload: Payload::Command(entry.command),
            });
            self.next_offset += 1;
            self.handed_out.push(entry.appender);
        }
        let range = Range {
            partition: PARTITION,
            from,
            to: self.next_offset,
        };
        Batch {
            ranges: vec![range],
            records,
            last: Vec::new(),
        }
    }

    fn next_position(&self) -> Position {
        Position {
            partition: PARTITION,
            offset: self.next_offset,
        }
    }

    /// Where it begins was said when it was opened: the store has not moved since.
    pub(super) fn start(&mut self, from: &[Stored]) -> Result<(), Strange> {
        match from.iter().find(|one| one.partition == PARTITION) {
            Some(stored) if stored.next_offset != self.next_offset => Err(Strange(format!(
                "the store is at {} and the log at {}",
                stored.next_offset, self.next_offset
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn acknowledge(&mut self) {
        let mut position = self.next_position();
        position.offset -= self.handed_out.len() as u64;
        for appender in self.handed_out.drain(..) {
            answer(appender, Ok(position));
            position.offset += 1;
        }
    }

    /// What certainly was not applied gives its offsets back.
    pub(super) fn refuse(&mut self, error: AppendError) {
        if error == AppendError::NotEnqueued {
            self.next_offset -= self.handed_out.len() as u64;
        }
        for appender in self.handed_out.drain(..) {
            answer(appender, Err(error));
        }
    }

    pub(super) fn close(&mut self) {
        let waiting = {
            let mut queue = self.shared.lock();
            queue.closed = true;
            queue.size_bytes = 0;
            mem::take(&mut queue.entries)
        };
        for entry in waiting {
            answer(entry.appender, Err(AppendError::NotEnqueued));
        }
    }
}

impl Drop for Consumer {
    /// Also on a panic of the worker: whether its batch was committed is not known then.
    fn drop(&mut self) {
        self.refuse(AppendError::Unknown);
        self.close();
    }
}

/// An appender that no longer waits misses its answer; the command stands all the same.
fn answer(appender: oneshot::Sender<Settled>, settled: Settled) {
    let _ = appender.send(settled);
}
