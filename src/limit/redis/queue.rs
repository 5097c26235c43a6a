//! What waits on a core for the next call: requests of one key stand together.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::{Decision, Decisions, Key};
use super::KEYS_PER_CALL_MAX;
use crate::clock::Stopwatch;

/// Who waits for an answer. A connection waits for no more than it asked in one read.
pub(super) trait Waits {
    /// Requests that the answer is about.
    fn requests(&self) -> usize;
    fn has_left(&self) -> bool;
}

/// A request that needs a slot.
pub(super) type Single = oneshot::Sender<Decision>;

impl Waits for Single {
    fn requests(&self) -> usize {
        1
    }

    fn has_left(&self) -> bool {
        self.is_closed()
    }
}

/// Requests of one key that came together.
pub(super) struct Many {
    pub count: u32,
    pub answer: oneshot::Sender<Decisions>,
}

impl Many {
    /// Who has left meanwhile does not get the tokens back, since the bucket may have refilled over
    /// them.
    pub fn tell(self, decisions: Decisions) {
        let _ = self.answer.send(decisions);
    }
}

impl Waits for Many {
    fn requests(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    fn has_left(&self) -> bool {
        self.answer.is_closed()
    }
}

/// Requests of one key.
pub(super) struct Entry<W> {
    pub key: Key,
    pub waiters: Vec<W>,
}

/// Requests that go out in one call: at most [`KEYS_PER_CALL_MAX`] keys.
pub(super) struct Group<W> {
    pub entries: Vec<Entry<W>>,
    index: HashMap<Key, usize>,
    requests: usize,
    /// How long the first of them waits.
    waits: Stopwatch,
}

impl<W> Default for Group<W> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            index: HashMap::new(),
            requests: 0,
            waits: Stopwatch::start(),
        }
    }
}

impl<W: Waits> Group<W> {
    fn push(&mut self, key: Key, waiter: W) {
        self.requests += waiter.requests();
        if let Some(&at) = self.index.get(&key) {
            self.entries[at].waiters.push(waiter);
            return;
        }
        self.index.insert(key.clone(), self.entries.len());
        self.entries.push(Entry {
            key,
            waiters: vec![waiter],
        });
    }

    /// How many have come, with those who have left.
    pub fn requests(&self) -> usize {
        self.requests
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= KEYS_PER_CALL_MAX
    }

    /// Takes out who has left meanwhile: nothing is to be taken for them.
    fn forget_leavers(&mut self) {
        for entry in &mut self.entries {
            entry.waiters.retain(|waiter| !waiter.has_left());
        }
        self.entries.retain(|entry| !entry.waiters.is_empty());
    }
}

struct Groups<W>(VecDeque<Group<W>>);

impl<W> Default for Groups<W> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<W: Waits> Groups<W> {
    fn push(&mut self, key: Key, waiter: W) {
        let is_full = |group: &mut Group<W>| group.is_full() && !group.index.contains_key(&key);
        if self.0.back_mut().is_none_or(is_full) {
            self.0.push_back(Group::default());
        }
        if let Some(group) = self.0.back_mut() {
            group.push(key, waiter);
        }
    }

    fn requests(&self) -> usize {
        self.0.iter().map(|group| group.requests).sum()
    }

    fn is_full(&self) -> bool {
        self.0.front().is_some_and(Group::is_full)
    }

    /// The group in front, if it has waited for so long.
    fn overdue(&mut self, limit: Duration) -> Option<Group<W>> {
        let front = self.0.front()?;
        (front.waits.elapsed() >= limit).then(|| self.take())
    }

    fn take(&mut self) -> Group<W> {
        let mut group = self.0.pop_front().unwrap_or_default();
        group.forget_leavers();
        group
    }
}

/// What one call decides.
#[derive(Default)]
pub(super) struct Batch {
    /// Buckets only.
    pub plain: Group<Many>,
    /// Buckets whose requests need a slot as well.
    pub with_slot: Group<Single>,
    /// Requests that need a slot only.
    pub alone: Vec<Single>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.plain.entries.is_empty() && !self.wants_slots()
    }

    pub fn wants_slots(&self) -> bool {
        !(self.with_slot.entries.is_empty() && self.alone.is_empty())
    }

    pub fn requests(&self) -> usize {
        self.plain.requests() + self.with_slot.requests() + self.alone.len()
    }
}

/// What waits.
#[derive(Default)]
pub(super) struct Queue {
    plain: Groups<Many>,
    with_slot: Groups<Single>,
    alone: Vec<Single>,
}

impl Queue {
    /// Requests that need a slot, each for itself.
    pub fn push(&mut self, key: Option<Key>, waiter: Single) {
        match key {
            Some(key) => self.with_slot.push(key, waiter),
            None => self.alone.push(waiter),
        }
    }

    pub fn push_many(&mut self, key: Key, waiter: Many) {
        self.plain.push(key, waiter);
    }

    /// What goes out next; `slots` is whether the call is one that may take slots.
    pub fn take(&mut self, slots: bool) -> Batch {
        let mut batch = Batch::default();
        if slots {
            batch.with_slot = self.with_slot.take();
            batch.alone = std::mem::take(&mut self.alone);
            batch.alone.retain(|waiter| !waiter.is_closed());
        }
        // One call's worth in all: what needs slots goes first, since one lane alone takes it.
        if batch.with_slot.entries.is_empty() {
            batch.plain = self.plain.take();
        }
        batch
    }

    /// What has waited for so long, one call's worth; requests that need a slot only go out with the
    /// next call, however many they are.
    pub fn overdue(&mut self, limit: Duration) -> Option<Batch> {
        let (plain, with_slot) = (self.plain.overdue(limit), self.with_slot.overdue(limit));
        (plain.is_some() || with_slot.is_some()).then(|| Batch {
            plain: plain.unwrap_or_default(),
            with_slot: with_slot.unwrap_or_default(),
            alone: Vec::new(),
        })
    }

    /// How many requests wait.
    pub fn requests(&self) -> usize {
        self.plain_requests() + self.with_slot.requests() + self.alone.len()
    }

    /// How many of these need no slot.
    pub fn plain_requests(&self) -> usize {
        self.plain.requests()
    }

    pub fn wants_slots(&self) -> bool {
        !(self.with_slot.0.is_empty() && self.alone.is_empty())
    }

    /// Whether what waits fills a call.
    pub fn is_full(&self) -> bool {
        self.plain.is_full() || self.with_slot.is_full()
    }

    pub fn is_empty(&self) -> bool {
        self.plain.0.is_empty() && !self.wants_slots()
    }
}
