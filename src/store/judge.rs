//! What the records of a batch are judged by, whatever store they go into.

use std::time::Duration;

use crate::domain::{
    Changes, Command, DeadLetter, Fold, Loaded, Needs, Payload, Record, Timestamp,
};
use crate::store::Options;

/// Invariant: one judge per batch, also where only a part of the batch is looked at.
pub(super) struct Judge<'a> {
    pub options: &'a Options,
    /// The earliest append time of the batch. Keys are on record at least as long as promised if
    /// none is taken for expired before its time.
    pub earliest: Timestamp,
    /// The latest: outcomes and dead letters are kept from here.
    pub latest: Timestamp,
}

impl<'a> Judge<'a> {
    pub fn of(records: &[Record], options: &'a Options) -> Self {
        let times = || records.iter().map(|record| record.appended_at);
        Self {
            options,
            earliest: times().min().unwrap_or_default(),
            latest: times().max().unwrap_or_default(),
        }
    }

    /// Decides `records` upon what was read for them.
    pub fn decide(&self, loaded: Loaded, records: &[Record]) -> Changes {
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
        fold.finish()
    }
}

/// What deciding `records` has to know of the store.
pub(super) fn needs(records: &[Record]) -> Needs {
    Needs::of(records.iter().filter_map(command))
}

/// What a record is turned into that the store refused; `None` where it is poison already.
pub(super) fn poison(record: &Record, reason: String) -> Option<Payload> {
    let command = command(record)?;
    Some(Payload::Poison {
        user: command.user.clone(),
        bytes: command.encode(),
        reason,
    })
}

fn command(record: &Record) -> Option<&Command> {
    match &record.payload {
        Payload::Command(command) => Some(command),
        Payload::Poison { .. } => None,
    }
}

/// The instant `retention` before `now`.
pub(super) fn before(now: Timestamp, retention: Duration) -> Timestamp {
    let micros = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
    now.plus_micros(-micros)
}
