//! The worker's end. The client is polled by a thread of its own ([`super::poller`]), so that the
//! group hears from this member while the worker is busy or waits; the two share what is here.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::buffer::{Buffer, Term};
use super::identity::Doubt;
use super::{Options, poller};
use crate::domain::Stored;
use crate::kafka::SetupError;
use crate::log::{Event, Linger, Strange};

/// How long the group is given to let this member go.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two attempts to verify the log.
const VERIFY_AGAIN: Duration = Duration::from_millis(500);

/// What the poller is asked to do.
pub(super) enum Request {
    /// These partitions begin at these offsets, in these terms.
    Begin(Vec<(u16, Term, u64)>),
    Leave,
    Join,
}

pub(super) struct State {
    pub buffer: Buffer,
    /// Assignments and revocations that the worker has not heard of. At most one of each, in this
    /// order: an assignment that is revoked before it was told is not told.
    revoked: Option<Vec<u16>>,
    assigned: Option<Vec<u16>>,
    requests: VecDeque<Request>,
    /// How far the worker has got, for tools that show the lag.
    applied: BTreeMap<u16, u64>,
    /// How far each partition that was begun is applied, and where it ends.
    progress: BTreeMap<u16, u64>,
    ends: BTreeMap<u16, u64>,
    strange: Option<Strange>,
    closed: bool,
    /// The poller has left.
    ended: bool,
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// Told of all that `next` looks at. There is one waiter.
    changed: Notify,
    /// Told of all that the poller waits for.
    poll_on: Condvar,
}

impl Shared {
    /// No step under the lock leaves the state half changed, so a panic elsewhere spoils nothing.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn assigned(&self, partitions: Vec<u16>) {
        let mut state = self.lock();
        state.buffer.assign(&partitions);
        state.assigned = (!partitions.is_empty()).then_some(partitions);
        drop(state);
        self.changed.notify_one();
    }

    pub fn revoked(&self) {
        let mut state = self.lock();
        let partitions = state.buffer.revoke();
        state.applied.clear();
        state.progress.clear();
        if state.assigned.take().is_none() && !partitions.is_empty() {
            state.revoked = Some(partitions);
        }
        drop(state);
        self.changed.notify_one();
    }

    pub fn fetched(&self, fetched: super::buffer::Fetched) {
        self.lock().buffer.push(fetched);
        self.changed.notify_one();
    }

    /// Waits while the buffer is full and nothing is asked of the poller, at most for `limit`.
    pub fn room(&self, limit: Duration) {
        let is_held_up = |state: &mut State| {
            state.buffer.is_full() && state.requests.is_empty() && !state.closed
        };
        let waited = self
            .poll_on
            .wait_timeout_while(self.lock(), limit, is_held_up);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    pub fn ends(&self, ends: BTreeMap<u16, u64>) {
        self.lock().ends = ends;
    }

    pub fn fail(&self, strange: Strange) {
        self.lock().strange.get_or_insert(strange);
        self.changed.notify_one();
    }

    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_one();
    }

    /// What the poller is to do next; nothing more once the consumer is closed.
    pub fn request(&self) -> Option<Vec<Request>> {
        let mut state = self.lock();
        (!state.closed).then(|| mem::take(&mut state.requests).into())
    }

    pub fn applied(&self) -> BTreeMap<u16, u64> {
        mem::take(&mut self.lock().applied)
    }

    fn ask(&self, request: Request) {
        self.lock().requests.push_back(request);
        self.poll_on.notify_one();
    }
}

/// What `next` finds.
enum Found {
    Event(Event),
    /// Something, but a batch could still grow.
    Some,
    Nothing,
    Closed,
}

pub struct Consumer {
    options: Arc<Options>,
    shared: Arc<Shared>,
    linger: Linger,
    /// The partitions of the batch handed out last, how far it goes, and in which term.
    handed_out: Vec<(u16, Term, u64)>,
}

impl Consumer {
    /// Joins the workers' group, in the background.
    ///
    /// # Errors
    /// [`SetupError::Config`]: the address cannot be one.
    pub fn open(options: &Options) -> Result<Self, SetupError> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                buffer: Buffer::new(options.limits.clone()),
                revoked: None,
                assigned: None,
                requests: VecDeque::from([Request::Join]),
                applied: BTreeMap::new(),
                progress: BTreeMap::new(),
                ends: BTreeMap::new(),
                strange: None,
                closed: false,
                ended: false,
            }),
            changed: Notify::new(),
            poll_on: Condvar::new(),
        });
        poller::spawn(options, &shared)?;
        Ok(Self {
            options: Arc::new(options.clone()),
            shared,
            linger: Linger::new(options.limits.linger.unwrap_or_default()),
            handed_out: Vec::new(),
        })
    }

    pub(in crate::log) async fn next(&mut self) -> Result<Option<Event>, Strange> {
        loop {
            let left = self.linger.left();
            match self.find(left.is_zero())? {
                Found::Event(event) => return Ok(Some(event)),
                Found::Closed => return self.left().await,
                Found::Nothing => self.shared.changed.notified().await,
                Found::Some => {
                    // Over or not: the batch is what waits then.
                    drop(timeout(left, self.filled()).await);
                    if let Found::Event(event) = self.find(true)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    fn find(&mut self, lingered: bool) -> Result<Found, Strange> {
        let mut state = self.shared.lock();
        if state.closed {
            return Ok(Found::Closed);
        }
        if let Some(strange) = &state.strange {
            return Err(strange.clone());
        }
        if state.ended {
            return Err(Strange("the reader of the log has failed".to_owned()));
        }
        if let Some(partitions) = state.revoked.take() {
            return Ok(Found::Event(Event::Revoked(partitions)));
        }
        if let Some(partitions) = state.assigned.take() {
            return Ok(Found::Event(Event::Assigned(partitions)));
        }
        if !lingered && !state.buffer.is_empty() && !state.buffer.fills_a_batch() {
            return Ok(Found::Some);
        }
        let Some((batch, terms)) = state.buffer.take() else {
            return Ok(Found::Nothing);
        };
        drop(state);
        self.shared.poll_on.notify_one();
        let ends = batch.ranges.iter().map(|range| range.to);
        let terms = terms.into_iter().zip(ends);
        self.linger.begin();
        self.handed_out = terms
            .map(|((partition, term), to)| (partition, term, to))
            .collect();
        Ok(Found::Event(Event::Batch(batch)))
    }

    /// Waits until a batch cannot grow, or there is something else to say.
    async fn filled(&self) {
        loop {
            {
                let state = self.shared.lock();
                if state.buffer.fills_a_batch()
                    || state.buffer.is_empty()
                    || state.revoked.is_some()
                    || state.assigned.is_some()
                    || state.closed
                    || state.ended
                {
                    return;
                }
            }
            self.shared.changed.notified().await;
        }
    }

    /// Closed: the others can go on at once, if the group hears of it.
    async fn left(&self) -> Result<Option<Event>, Strange> {
        let ended = async {
            while !self.shared.lock().ended {
                self.shared.changed.notified().await;
            }
        };
        if timeout(LEAVE_TIMEOUT, ended).await.is_err() {
            tracing::warn!("kafka: the group could not be left in time");
        }
        Ok(None)
    }

    pub(in crate::log) async fn start(&mut self, from: &[Stored]) -> Result<(), Strange> {
        // From here on nothing of them is handed out, whatever was fetched or is on its way.
        for stored in from {
            self.shared.lock().buffer.halt(stored.partition);
        }
        loop {
            let owned = self.owned(from);
            if owned.is_empty() || self.shared.lock().closed {
                return Ok(());
            }
            let stored: Vec<Stored> = owned.iter().map(|(stored, _)| *stored).collect();
            match super::verify(&self.options, stored).await {
                Ok(()) => {
                    let next = owned.iter();
                    let next = next.map(|(stored, _)| (stored.partition, stored.next_offset));
                    self.shared.lock().progress.extend(next);
                    let begin = owned.into_iter();
                    let begin = begin
                        .map(|(stored, term)| (stored.partition, term, stored.next_offset))
                        .collect();
                    self.shared.ask(Request::Begin(begin));
                    return Ok(());
                }
                Err(Doubt::Strange(strange)) => return Err(strange),
                Err(Doubt::Unreachable(reason)) => {
                    tracing::warn!(reason, "kafka: the log cannot be verified yet");
                    sleep(VERIFY_AGAIN).await;
                }
            }
        }
    }

    fn owned(&self, from: &[Stored]) -> Vec<(Stored, Term)> {
        let state = self.shared.lock();
        let owned = from
            .iter()
            .filter_map(|stored| Some((*stored, state.buffer.term(stored.partition)?)));
        owned.collect()
    }

    pub(in crate::log) fn owns_batch(&self) -> bool {
        let state = self.shared.lock();
        let mut parts = self.handed_out.iter();
        parts.all(|(partition, term, _)| state.buffer.is_owned(*partition, *term))
    }

    /// One that would be waited for is not there yet.
    pub(in crate::log) fn has_more(&self) -> bool {
        let state = self.shared.lock();
        !state.buffer.is_empty() && (self.linger.left().is_zero() || state.buffer.fills_a_batch())
    }

    pub(in crate::log) fn acknowledge(&mut self) {
        let mut state = self.shared.lock();
        for (partition, term, to) in &self.handed_out {
            if state.buffer.is_owned(*partition, *term) {
                state.applied.insert(*partition, *to);
                state.progress.insert(*partition, *to);
            }
        }
    }

    /// Commands of the partitions begun that are not applied, as far as is known.
    pub(in crate::log) fn lag(&self) -> u64 {
        let state = self.shared.lock();
        let lag = |(partition, next): (&u16, &u64)| {
            let end = state.ends.get(partition).copied().unwrap_or(*next);
            end.saturating_sub(*next)
        };
        state.progress.iter().map(lag).sum()
    }

    pub(in crate::log) fn leave(&self) {
        self.shared.ask(Request::Leave);
    }

    pub(in crate::log) fn join(&self) {
        self.shared.ask(Request::Join);
    }

    pub(in crate::log) fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        self.shared.poll_on.notify_one();
    }
}

#[cfg(test)]
impl Consumer {
    pub(super) fn is_full(&self) -> bool {
        self.shared.lock().buffer.is_full()
    }

    pub(super) fn waiting(&self) -> usize {
        self.shared.lock().buffer.waiting()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.close();
    }
}
