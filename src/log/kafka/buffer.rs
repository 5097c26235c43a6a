//! What was fetched from the topic and not handed out yet, and which partitions it may be of.
//!
//! No I/O: the poller fills it, the consumer empties it.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::{Batch, Hash128, LastRecord, Position, Range, Record};
use crate::log::Options as Limits;

/// Batches that are fetched ahead. Nothing is taken from the client while they are there. Where that
/// lasts, fetching is paused, which voids what the client had fetched itself, and goes on when less
/// than one is left: so that is rare.
const BATCHES_AHEAD: usize = 4;

/// Which assignment of a partition something belongs to: the same partition, taken away and given
/// back, has another one.
pub type Term = u64;

pub struct Fetched {
    pub record: Record,
    /// Of the record as it stands in the topic.
    pub bytes: usize,
    pub hash: Hash128,
}

struct Owned {
    term: Term,
    /// Once it is known where to begin.
    offsets: Option<Offsets>,
}

/// Invariant: `handed_out <= fetched`, and what waits of the partition lies between the two.
struct Offsets {
    /// Where the next range begins.
    handed_out: u64,
    /// What is fetched next.
    fetched: u64,
}

pub struct Buffer {
    limits: Limits,
    terms: Term,
    owned: BTreeMap<u16, Owned>,
    /// Invariant: of partitions that are owned and have begun; in order within each.
    waiting: VecDeque<Fetched>,
    /// Invariant: the sum over what waits.
    bytes: usize,
}

impl Buffer {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            terms: 0,
            owned: BTreeMap::new(),
            waiting: VecDeque::new(),
            bytes: 0,
        }
    }

    /// These are owned from now on, and begin once it is known where.
    pub fn assign(&mut self, partitions: &[u16]) {
        self.terms += 1;
        for partition in partitions {
            let owned = Owned {
                term: self.terms,
                offsets: None,
            };
            self.owned.insert(*partition, owned);
        }
        self.forget(|partition| partitions.contains(&partition));
    }

    /// Nothing is owned any more. Returns what was.
    pub fn revoke(&mut self) -> Vec<u16> {
        self.waiting.clear();
        self.bytes = 0;
        let owned = std::mem::take(&mut self.owned);
        owned.into_keys().collect()
    }

    /// The partition's term, if it is owned.
    pub fn term(&self, partition: u16) -> Option<Term> {
        self.owned.get(&partition).map(|owned| owned.term)
    }

    pub fn is_owned(&self, partition: u16, term: Term) -> bool {
        self.term(partition) == Some(term)
    }

    /// Nothing more of the partition is taken or handed out until it begins.
    pub fn halt(&mut self, partition: u16) {
        if let Some(owned) = self.owned.get_mut(&partition) {
            owned.offsets = None;
            self.forget(|other| other == partition);
        }
    }

    /// The partition begins at this offset, if it is still owned as it was then.
    pub fn begin(&mut self, partition: u16, term: Term, offset: u64) {
        if let Some(owned) = self.owned.get_mut(&partition)
            && owned.term == term
        {
            owned.offsets = Some(Offsets {
                handed_out: offset,
                fetched: offset,
            });
            self.forget(|other| other == partition);
        }
    }

    /// The partitions that have begun, and what is to be fetched next of each.
    pub fn begun(&self) -> impl Iterator<Item = (u16, u64)> {
        self.owned
            .iter()
            .filter_map(|(partition, owned)| Some((*partition, owned.offsets.as_ref()?.fetched)))
    }

    /// Takes a record; one that nobody asked for, or that is here already, is dropped.
    pub fn push(&mut self, fetched: Fetched) {
        let Position { partition, offset } = fetched.record.position;
        let owned = self.owned.get_mut(&partition);
        let Some(offsets) = owned.and_then(|owned| owned.offsets.as_mut()) else {
            return;
        };
        if offset >= offsets.fetched {
            offsets.fetched = offset + 1;
            self.bytes += fetched.bytes;
            self.waiting.push_back(fetched);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether waiting would not make the next batch larger.
    pub fn fills_a_batch(&self) -> bool {
        self.waiting.len() >= self.limits.batch_commands_max
            || self.bytes >= self.limits.batch_bytes_max
    }

    /// Whether nothing more should be fetched.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= self.limits.batch_commands_max.saturating_mul(BATCHES_AHEAD)
            || self.bytes >= self.limits.batch_bytes_max.saturating_mul(BATCHES_AHEAD)
    }

    /// The next batch, and the term of each of its partitions. A record larger than a batch comes
    /// alone.
    pub fn take(&mut self) -> Option<(Batch, Vec<(u16, Term)>)> {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        let mut places = BTreeMap::<u16, usize>::new();
        while let Some(next) = self.waiting.front() {
            let fits = bytes + next.bytes <= self.limits.batch_bytes_max
                && batch.records.len() < self.limits.batch_commands_max;
            if !fits && !batch.records.is_empty() {
                break;
            }
            let Some(next) = self.waiting.pop_front() else {
                break;
            };
            bytes += next.bytes;
            let Position { partition, offset } = next.record.position;
            let last = LastRecord {
                position: next.record.position,
                hash: next.hash,
            };
            let place = *places.entry(partition).or_insert_with(|| {
                let from = self.handed_out(partition);
                batch.ranges.push(Range {
                    partition,
                    from,
                    to: from,
                });
                batch.last.push(last);
                batch.ranges.len() - 1
            });
            batch.ranges[place].to = offset + 1;
            batch.last[place] = last;
            batch.records.push(next.record);
        }
        self.bytes -= bytes;
        let mut terms = Vec::with_capacity(batch.ranges.len());
        for range in &batch.ranges {
            if let Some(owned) = self.owned.get_mut(&range.partition) {
                terms.push((range.partition, owned.term));
                if let Some(offsets) = &mut owned.offsets {
                    offsets.handed_out = range.to;
                }
            }
        }
        (!batch.records.is_empty()).then_some((batch, terms))
    }

    fn handed_out(&self, partition: u16) -> u64 {
        let owned = self.owned.get(&partition);
        let offsets = owned.and_then(|owned| owned.offsets.as_ref());
        offsets
            .expect("what waits is of a partition that has begun")
            .handed_out
    }

    fn forget(&mut self, of: impl Fn(u16) -> bool) {
        self.waiting
            .retain(|fetched| !of(fetched.record.position.partition));
        self.bytes = self.waiting.iter().map(|fetched| fetched.bytes).sum();
    }
}

#[cfg(test)]
impl Buffer {
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests;
