//! Dropping what is past its retention, a bounded number of rows at a time.

use rusqlite::{Connection, params};

use super::Store;
use super::fault::transaction;
use crate::domain::Timestamp;
use crate::store::StoreError;
use crate::store::judge::before;

/// Rows of a table that one call drops, at most. More than a batch adds by default, so that
/// forgetting after each batch keeps up; few enough to hold up the next batch by some 10 ms only.
const ROWS_MAX: i64 = 5000;

const FORGET_KEYS: &str = include_str!("../../../sql/sqlite/forget_keys.sql");
const PARTITIONS: &str = "SELECT partition FROM positions";
const EXPIRED_OUTCOMES: &str = include_str!("../../../sql/sqlite/expired_outcomes.sql");
const FORGET_OUTCOMES: &str = "DELETE FROM outcomes WHERE partition = ?1 AND log_offset <= ?2";
const KNOWN_FROM: &str = "UPDATE positions SET outcomes_from = ?2 + 1 WHERE partition = ?1";

impl Store {
    pub(in crate::store) fn forget(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        let keys_before = before(now, self.options.key_retention);
        let outcomes_before = before(now, self.options.outcome_retention);
        let forgotten = transaction(&mut self.connection, |open| {
            let mut more = forget_keys(open, keys_before)?;
            for partition in partitions(open)? {
                more |= forget_outcomes(open, partition, outcomes_before)?;
            }
            Ok(more)
        });
        Ok(forgotten?)
    }
}

fn forget_keys(open: &Connection, before: Timestamp) -> rusqlite::Result<bool> {
    let gone = open
        .prepare_cached(FORGET_KEYS)?
        .execute(params![before.as_micros(), ROWS_MAX])?;
    Ok(gone as u64 == ROWS_MAX.cast_unsigned())
}

fn partitions(open: &Connection) -> rusqlite::Result<Vec<u16>> {
    open.prepare_cached(PARTITIONS)?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Deletes from the front of the partition, and says from where on outcomes are still known.
fn forget_outcomes(open: &Connection, partition: u16, before: Timestamp) -> rusqlite::Result<bool> {
    let (last, count): (Option<i64>, i64) = open
        .prepare_cached(EXPIRED_OUTCOMES)?
        .query_row(params![partition, before.as_micros(), ROWS_MAX], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if let Some(last) = last {
        for statement in [FORGET_OUTCOMES, KNOWN_FROM] {
            open.prepare_cached(statement)?
                .execute(params![partition, last])?;
        }
    }
    Ok(count == ROWS_MAX)
}
