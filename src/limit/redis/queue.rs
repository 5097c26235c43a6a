//! What waits on a core for the next call: requests of one key stand together.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use super::super::{Ask, Decision, Key};
use super::KEYS_PER_CALL_MAX;

/// A request that waits. Its number is bounded by that of connections: each waits for one answer.
pub(super) type Waiter = oneshot::Sender<Decision>;

/// Requests of one key.
pub(super) struct Entry {
    pub key: Key,
    pub waiters: Vec<Waiter>,
}

/// Requests that go out in one call: at most [`KEYS_PER_CALL_MAX`] keys.
#[derive(Default)]
pub(super) struct Group {
    pub entries: Vec<Entry>,
    index: HashMap<Key, usize>,
}

impl Group {
    fn push(&mut self, key: Key, waiter: Waiter) {
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

    /// Takes out who has left meanwhile: nothing is to be taken for them.
    fn forget_leavers(&mut self) {
        for entry in &mut self.entries {
            entry.waiters.retain(|waiter| !waiter.is_closed());
        }
        self.entries.retain(|entry| !entry.waiters.is_empty());
    }
}

#[derive(Default)]
struct Groups(VecDeque<Group>);

impl Groups {
    fn push(&mut self, key: Key, waiter: Waiter) {
        let is_full = |group: &mut Group| {
            group.entries.len() >= KEYS_PER_CALL_MAX && !group.index.contains_key(&key)
        };
        if self.0.back_mut().is_none_or(is_full) {
            self.0.push_back(Group::default());
        }
        if let Some(group) = self.0.back_mut() {
            group.push(key, waiter);
        }
    }

    fn take(&mut self) -> Group {
        let mut group = self.0.pop_front().unwrap_or_default();
        group.forget_leavers();
        group
    }
}

/// What one call decides.
#[derive(Default)]
pub(super) struct Batch {
    /// Buckets only.
    pub plain: Group,
    /// Buckets whose requests need a slot as well.
    pub with_slot: Group,
    /// Requests that need a slot only.
    pub alone: Vec<Waiter>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.plain.entries.is_empty() && self.with_slot.entries.is_empty() && self.alone.is_empty()
    }
}

/// What waits.
#[derive(Default)]
pub(super) struct Queue {
    plain: Groups,
    with_slot: Groups,
    alone: Vec<Waiter>,
}

impl Queue {
    pub fn push(&mut self, ask: Ask, waiter: Waiter) {
        match (ask.key, ask.slot) {
            (Some(key), false) => self.plain.push(key, waiter),
            (Some(key), true) => self.with_slot.push(key, waiter),
            (None, _) => self.alone.push(waiter),
        }
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

    pub fn is_empty(&self, slots: bool) -> bool {
        let no_slots = self.with_slot.0.is_empty() && self.alone.is_empty();
        self.plain.0.is_empty() && (no_slots || !slots)
    }
}
