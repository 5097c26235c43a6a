//! A fleet in memory, as one worker meets it: a log that hands partitions out and takes them away,
//! a store with an outbox, a feed. Each call may be told to fail.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::timeout;

use crate::domain::{
    Action, Applied, Batch, Command, Payload, Position, Range, Record, Stored, Timestamp,
};
use crate::feed::PublishError;
use crate::log::{Event, Strange};
use crate::store::{ApplyError, StoreError};

/// How long the log lets a consumer wait that finds nothing; the clock of these tests is tokio's.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Records in a batch, at most, of each partition.
const BATCH_MAX: u64 = 3;

/// What a call is to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Good,
    /// Nothing was done.
    Fails,
    /// `apply` only: done, and the reply is lost.
    DoneUnknown,
    /// `apply` only: not done, and nobody can say.
    LostUnknown,
}

/// What the worker asked for, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Apply(Vec<Range>),
    Positions,
    Unpublished,
    Publish(Vec<Range>),
    Published(Vec<Range>),
    Settle,
    Start(Vec<(u16, u64)>),
    Acknowledge,
    Leave,
    Join,
}

/// Decides what a call comes to.
pub type Decides = Box<dyn FnMut(&Asked) -> Fate + Send>;

#[derive(Default)]
pub struct State {
    /// Where each partition of the log ends.
    pub ends: BTreeMap<u16, u64>,
    /// Where the store stands.
    pub stored: BTreeMap<u16, u64>,
    pub outbox: Vec<Range>,
    to_delete: Vec<Range>,
    pub feed: Vec<Range>,
    /// Partitions of this consumer and, once it has said so, where it reads them.
    pub assigned: BTreeMap<u16, Option<u64>>,
    pub joined: bool,
    closed: bool,
    pub events: VecDeque<Event>,
    handed_out: Vec<Range>,
    /// What the next applies come to.
    pub applies: VecDeque<Fate>,
    /// What all else comes to.
    pub otherwise: Option<Decides>,
    pub asked: Vec<Asked>,
    pub strange: bool,
}

/// The same fleet for all that hold it.
#[derive(Clone, Default)]
pub struct World(Arc<Mutex<State>>);

impl World {
    /// A log of so many partitions with so many records each, from which nothing is applied.
    pub fn new(partitions: u16, records: u64) -> Self {
        let world = Self::default();
        let mut state = world.state();
        state.ends = (0..partitions).map(|one| (one, records)).collect();
        state.stored = (0..partitions).map(|one| (one, 0)).collect();
        state.joined = true;
        drop(state);
        world
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn assign(&self, partitions: &[u16]) {
        let mut state = self.state();
        for one in partitions {
            state.assigned.insert(*one, None);
        }
        state.events.push_back(Event::Assigned(partitions.to_vec()));
    }

    pub fn revoke(&self, partitions: &[u16]) {
        let mut state = self.state();
        state.assigned.retain(|one, _| !partitions.contains(one));
        state.events.push_back(Event::Revoked(partitions.to_vec()));
    }

    /// Another worker applies up to `to` and dies before it has published.
    pub fn another_commits(&self, partition: u16, to: u64) {
        let mut state = self.state();
        let from = state.stored.insert(partition, to).unwrap();
        state.outbox.push(range(partition, from, to));
    }

    /// Waits until it holds, which tokio's clock need not pass for.
    pub async fn until(&self, holds: impl Fn(&State) -> bool) {
        for _ in 0..100_000 {
            if holds(&self.state()) {
                return;
            }
            pass(LOOK_AGAIN).await;
        }
        let state = self.state();
        panic!(
            "never came to hold: the store is at {:?}, outbox {:?}, assigned {:?}; asked first {:?}",
            state.stored,
            state.outbox,
            state.assigned,
            &state.asked[..state.asked.len().min(50)],
        );
    }
}

/// Lets tokio's clock, which is paused, pass: others have their turn.
pub async fn pass(time: Duration) {
    drop(timeout(time, std::future::pending::<()>()).await);
}

pub fn range(partition: u16, from: u64, to: u64) -> Range {
    Range {
        partition,
        from,
        to,
    }
}

impl State {
    fn ask(&mut self, asked: Asked) -> Fate {
        let scripted = match asked {
            Asked::Apply(_) => self.applies.pop_front(),
            _ => None,
        };
        let fate = match (scripted, &mut self.otherwise) {
            (Some(fate), _) => fate,
            (None, Some(otherwise)) => otherwise(&asked),
            (None, None) => Fate::Good,
        };
        self.asked.push(asked);
        fate
    }

    /// Everything in the log is applied, published and forgotten by the outbox.
    pub fn is_drained(&self) -> bool {
        self.stored == self.ends && self.outbox.is_empty()
    }

    /// Whether a server that followed the feed would have all, in order and without a gap but for
    /// what it drops as late. Records of one partition that overlap in part would be a gap.
    pub fn feed_leads_to(&self, partition: u16) -> u64 {
        let mut mark = 0;
        let mut left: BTreeSet<(u64, u64)> = BTreeSet::new();
        for one in self.feed.iter().filter(|one| one.partition == partition) {
            left.insert((one.from, one.to));
        }
        for (from, to) in left {
            assert!(
                from <= mark,
                "{partition}: nothing leads from {mark} to {from}"
            );
            mark = mark.max(to);
        }
        mark
    }

    fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let mut batch = Batch::default();
        for (&partition, position) in &mut self.assigned {
            let end = self.ends[&partition];
            let Some(from) = position.filter(|from| *from < end) else {
                continue;
            };
            let to = end.min(from + BATCH_MAX);
            batch.ranges.push(range(partition, from, to));
            batch
                .records
                .extend((from..to).map(|offset| record(partition, offset)));
            *position = Some(to);
        }
        if batch.ranges.is_empty() {
            return None;
        }
        self.handed_out.clone_from(&batch.ranges);
        Some(Event::Batch(batch))
    }

    fn commit(&mut self, ranges: &[Range]) -> Result<(), ApplyError> {
        if ranges
            .iter()
            .any(|one| self.stored[&one.partition] != one.from)
        {
            return Err(ApplyError::Moved(self.stored.values().copied().collect()));
        }
        for one in ranges {
            self.stored.insert(one.partition, one.to);
            self.outbox.push(*one);
        }
        self.delete();
        Ok(())
    }

    fn delete(&mut self) {
        let gone = std::mem::take(&mut self.to_delete);
        self.outbox.retain(|one| !gone.contains(one));
    }
}

fn record(partition: u16, offset: u64) -> Record {
    Record {
        position: Position { partition, offset },
        appended_at: Timestamp::default(),
        payload: Payload::Command(Command {
            user: "alice".into(),
            at: Timestamp::default(),
            key: None,
            action: Action::ClaimGiftCode { code: "c".into() },
        }),
    }
}

pub struct Consumer(pub World);

impl Consumer {
    pub async fn next(&mut self) -> Result<Option<Event>, Strange> {
        loop {
            if self.0.state().closed {
                return Ok(None);
            }
            let found = self.0.state().next_event();
            if found.is_some() {
                return Ok(found);
            }
            pass(LOOK_AGAIN).await;
        }
    }

    pub fn has_more(&self) -> bool {
        let state = self.0.state();
        let waits = |(partition, position): (&u16, &Option<u64>)| {
            position.is_some_and(|from| from < state.ends[partition])
        };
        state.assigned.iter().any(waits)
    }

    pub fn start(&mut self, from: &[Stored]) -> Result<(), Strange> {
        let mut state = self.0.state();
        let from: Vec<_> = from
            .iter()
            .map(|one| (one.partition, one.next_offset))
            .collect();
        // It has no fate: what it does is in this process.
        state.asked.push(Asked::Start(from.clone()));
        if state.strange {
            return Err(Strange("another log".into()));
        }
        for (partition, next) in from {
            if let Some(position) = state.assigned.get_mut(&partition) {
                *position = Some(next);
            }
        }
        Ok(())
    }

    pub fn owns_batch(&self) -> bool {
        let state = self.0.state();
        let owns = |one: &Range| state.assigned.contains_key(&one.partition);
        state.handed_out.iter().all(owns)
    }

    pub fn acknowledge(&mut self) {
        self.0.state().asked.push(Asked::Acknowledge);
    }

    pub fn leave(&mut self) {
        let mut state = self.0.state();
        state.asked.push(Asked::Leave);
        state.joined = false;
        let had: Vec<u16> = std::mem::take(&mut state.assigned).into_keys().collect();
        state.events.push_back(Event::Revoked(had));
    }

    pub fn close(&mut self) {
        let mut state = self.0.state();
        state.asked.push(Asked::Leave);
        state.closed = true;
    }

    pub fn join(&mut self) {
        let mut state = self.0.state();
        state.asked.push(Asked::Join);
        state.joined = true;
        let all: Vec<u16> = state.ends.keys().copied().collect();
        drop(state);
        self.0.assign(&all);
    }
}

pub struct Store(pub World);

impl Store {
    pub fn apply(&mut self, batch: &mut Batch) -> Result<Vec<Applied>, ApplyError> {
        let mut state = self.0.state();
        match state.ask(Asked::Apply(batch.ranges.clone())) {
            Fate::Fails => return Err(ApplyError::NotApplied("scripted".into())),
            Fate::LostUnknown => return Err(ApplyError::Unknown("scripted".into())),
            Fate::DoneUnknown => {
                state.commit(&batch.ranges)?;
                return Err(ApplyError::Unknown("scripted".into()));
            }
            Fate::Good => state.commit(&batch.ranges)?,
        }
        Ok(Applied::split(&batch.ranges, &[], &[]))
    }

    pub fn positions(&mut self) -> Result<Vec<Stored>, StoreError> {
        let mut state = self.0.state();
        if state.ask(Asked::Positions) != Fate::Good {
            return Err(StoreError::Again("scripted".into()));
        }
        let stored = |(&partition, &next_offset)| Stored {
            partition,
            next_offset,
            last: None,
        };
        Ok(state.stored.iter().map(stored).collect())
    }

    pub fn unpublished(&mut self, partitions: &[u16]) -> Result<Vec<Applied>, StoreError> {
        let mut state = self.0.state();
        if state.ask(Asked::Unpublished) != Fate::Good {
            return Err(StoreError::Again("scripted".into()));
        }
        let gone = &state.to_delete;
        let waits = |one: &&Range| partitions.contains(&one.partition) && !gone.contains(one);
        let ranges: Vec<Range> = state.outbox.iter().filter(waits).copied().collect();
        let one = |range: &Range| Applied::split(&[*range], &[], &[]).remove(0);
        Ok(ranges.iter().map(one).collect())
    }

    pub fn published(&mut self, ranges: &[Range]) {
        let mut state = self.0.state();
        state.asked.push(Asked::Published(ranges.to_vec()));
        state.to_delete.extend(ranges);
    }

    pub fn settle(&mut self) -> Result<(), StoreError> {
        let mut state = self.0.state();
        if state.ask(Asked::Settle) != Fate::Good {
            return Err(StoreError::Again("scripted".into()));
        }
        state.delete();
        Ok(())
    }
}

pub struct Publisher(pub World);

impl Publisher {
    pub fn publish(&mut self, applied: &[Applied]) -> Result<(), PublishError> {
        let mut state = self.0.state();
        let ranges: Vec<Range> = applied.iter().map(|one| one.range).collect();
        match state.ask(Asked::Publish(ranges.clone())) {
            Fate::Good => state.feed.extend(ranges),
            // Some of it may be there all the same.
            Fate::DoneUnknown => {
                state.feed.extend(ranges.first());
                return Err(PublishError::Again("scripted".into()));
            }
            _ => return Err(PublishError::Again("scripted".into())),
        }
        Ok(())
    }
}
