//! Applying a batch: fold it over what the store holds and write what comes out, as one
//! transaction.

use rusqlite::{Connection, Transaction};

use super::fault::{Fault, rehearsal, transaction};
use super::{Store, rows};
use crate::domain::{Applied, Batch, Changes, Payload, Record};
use crate::store::ApplyError;
use crate::store::judge::{Judge, needs, poison};

impl Store {
    pub(in crate::store) fn apply(
        &mut self,
        batch: &mut Batch,
    ) -> Result<Vec<Applied>, ApplyError> {
        loop {
            let refused = match self.transact(batch) {
                Ok(Changes {
                    todos, outcomes, ..
                }) => return Ok(Applied::split(&batch.ranges, &todos, &outcomes)),
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
        let judge = Judge::of(&batch.records, &self.options);
        transaction(&mut self.connection, |open| {
            for range in &batch.ranges {
                if !rows::move_position(open, *range)? {
                    return Err(Fault::Moved);
                }
            }
            Ok(apply(&judge, open, &batch.records)?)
        })
    }

    /// Finds the commands that the store refuses by applying one by one, each upon those before
    /// it that went well, in a transaction that is rolled back. Returns how many there are.
    fn mark_poison(&mut self, batch: &mut Batch) -> Result<usize, Fault> {
        let judge = Judge::of(&batch.records, &self.options);
        rehearsal(&mut self.connection, |open| {
            let mut found = 0;
            for record in &mut batch.records {
                if let Some(poison) = refusal(&judge, open, record)? {
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

fn apply(judge: &Judge<'_>, open: &Connection, records: &[Record]) -> rusqlite::Result<Changes> {
    let retention = judge.options.key_retention;
    let loaded = rows::read(open, &needs(records), judge.earliest, retention)?;
    let changes = judge.decide(loaded, records);
    rows::write(open, &changes, judge.latest)?;
    Ok(changes)
}

/// What `record` is turned into if the store refuses it; its effects stay in `open` if not.
fn refusal(
    judge: &Judge<'_>,
    open: &mut Transaction<'_>,
    record: &Record,
) -> Result<Option<Payload>, Fault> {
    if matches!(record.payload, Payload::Poison { .. }) {
        return Ok(None);
    }
    let savepoint = open.savepoint()?;
    match apply(judge, &savepoint, std::slice::from_ref(record)) {
        Ok(_) => {
            savepoint.commit()?;
            Ok(None)
        }
        Err(error) => match error.into() {
            Fault::Refused(reason) => Ok(poison(record, reason)),
            fault => Err(fault),
        },
    }
}
