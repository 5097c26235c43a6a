//! Applying a batch: fold it over what the store holds and write what comes out, as one
//! transaction.

use rusqlite::{Connection, Transaction};

use super::fault::{Fault, rehearsal, transaction};
use super::{Store, rows};
use crate::domain::{
    Applied, Batch, Changes, Command, DeadLetter, Fold, Needs, Payload, Record, Timestamp,
};
use crate::store::{ApplyError, Options};

/// What the records of a batch are judged by.
struct Judge<'a> {
    options: &'a Options,
    /// The earliest append time of the batch. Keys are on record at least as long as promised if
    /// none is taken for expired before its time.
    earliest: Timestamp,
    /// The latest: outcomes and dead letters are kept from here.
    latest: Timestamp,
}

impl Store {
    pub(in crate::store) fn apply(
        &mut self,
        batch: &mut Batch,
    ) -> Result<Vec<Applied>, ApplyError> {
        loop {
            let refused = match self.transact(batch) {
                Ok(changes) => return Ok(Applied::split(&batch.ranges, changes)),
                Err(Fault::Refused(reason)) => reason,
                Err(fault) => return Err(self.apply_error(fault)),
            };
            // Each round makes at least one command a dead letter, so the rounds end.
            match self.mark_poison(batch) {
                Ok(0) => return Err(ApplyError::NotApplied(refused)),
                Ok(_) => {}
                Err(fault) => return Err(self.apply_error(fault)),
            }
        }
    }

    fn transact(&mut self, batch: &Batch) -> Result<Changes, Fault> {
        let judge = Judge::of(batch, &self.options);
        transaction(&mut self.connection, |open| {
            for range in &batch.ranges {
                if !rows::move_position(open, *range)? {
                    return Err(Fault::Moved);
                }
            }
            Ok(judge.apply(open, &batch.records)?)
        })
    }

    /// Finds the commands that the store refuses by applying one by one, each upon those before
    /// it that went well, in a transaction that is rolled back. Returns how many there are.
    fn mark_poison(&mut self, batch: &mut Batch) -> Result<usize, Fault> {
        let judge = Judge::of(batch, &self.options);
        rehearsal(&mut self.connection, |open| {
            let mut found = 0;
            for record in &mut batch.records {
                if let Some(poison) = judge.poison(open, record)? {
                    record.payload = poison;
                    found += 1;
                }
            }
            Ok(found)
        })
    }

    fn apply_error(&self, fault: Fault) -> ApplyError {
        match fault {
            Fault::NotApplied(reason) | Fault::Refused(reason) => ApplyError::NotApplied(reason),
            Fault::Unknown(reason) => ApplyError::Unknown(reason),
            Fault::Moved => match rows::positions(&self.connection) {
                Ok(positions) => ApplyError::Moved(positions),
                Err(error) => self.apply_error(error.into()),
            },
        }
    }
}

impl<'a> Judge<'a> {
    fn of(batch: &Batch, options: &'a Options) -> Self {
        let times = || batch.records.iter().map(|record| record.appended_at);
        Self {
            options,
            earliest: times().min().unwrap_or_default(),
            latest: times().max().unwrap_or_default(),
        }
    }

    fn apply(&self, open: &Connection, records: &[Record]) -> rusqlite::Result<Changes> {
        let needs = Needs::of(records.iter().filter_map(command));
        let loaded = rows::read(open, &needs, self.earliest, self.options.key_retention)?;
        let mut fold = Fold::new(loaded, self.options.gift_stock);
        for record in records {
            match &record.payload {
                Payload::Command(command) => {
                    fold.apply(record.position, record.appended_at, command);
                }
                Payload::Poison {
                    user,
                    bytes,
                    reason,
                } => fold.bury(DeadLetter {
                    position: record.position,
                    user: user.clone(),
                    reason: reason.clone(),
                    payload: bytes.clone(),
                }),
            }
        }
        let changes = fold.finish();
        rows::write(open, &changes, self.latest)?;
        Ok(changes)
    }

    /// What `record` is turned into if the store refuses it; its effects stay in `open` if not.
    fn poison(
        &self,
        open: &mut Transaction<'_>,
        record: &Record,
    ) -> Result<Option<Payload>, Fault> {
        let Some(command) = command(record) else {
            return Ok(None);
        };
        let savepoint = open.savepoint()?;
        match self.apply(&savepoint, std::slice::from_ref(record)) {
            Ok(_) => {
                savepoint.commit()?;
                Ok(None)
            }
            Err(error) => match error.into() {
                Fault::Refused(reason) => Ok(Some(Payload::Poison {
                    user: command.user.clone(),
                    bytes: command.encode(),
                    reason,
                })),
                fault => Err(fault),
            },
        }
    }
}

fn command(record: &Record) -> Option<&Command> {
    match &record.payload {
        Payload::Command(command) => Some(command),
        Payload::Poison { .. } => None,
    }
}
