//! Applying a batch: fold it over what the database holds and write what comes out, as one
//! transaction of two exchanges with the server. The first begins it, moves the positions and
//! reads; the second writes and commits.

use std::pin::Pin;

use futures_util::TryFutureExt;
use futures_util::future::{try_join, try_join3, try_join4};
use tokio::time::timeout;
use tokio_postgres::Error;

use super::Store;
use super::fault::{Fault, no_answer, within};
use super::rows;
use super::session::Session;
use crate::domain::{Applied, Batch, Changes, Range, Record, Timestamp};
use crate::fault::{Point, reach};
use crate::store::judge::{Judge, before, needs, poison};
use crate::store::{ApplyError, Options};

impl Store {
    pub(in crate::store) async fn apply(
        &mut self,
        batch: &mut Batch,
    ) -> Result<Vec<Applied>, ApplyError> {
        loop {
            let refused = match self.transact(batch).await {
                Ok(applied) => return Ok(applied),
                Err(Fault::Refused(reason)) => reason,
                Err(fault) => return Err(self.apply_error(fault).await),
            };
            // Each round makes at least one command a dead letter, so the rounds end.
            match self.mark_poison(batch).await {
                Ok(0) => return Err(ApplyError::NotApplied(refused)),
                Ok(_) => {}
                Err(fault) => return Err(self.apply_error(fault).await),
            }
        }
    }

    async fn transact(&mut self, batch: &Batch) -> Result<Vec<Applied>, Fault> {
        let session = self.take_session().await?;
        let judge = Judge::of(&batch.records, &self.options.store);
        let done = transact(&session, &judge, batch, &self.published).await;
        let done = self.give_back(session, done).await;
        if done.is_ok() {
            self.published.clear();
        }
        done
    }

    async fn mark_poison(&mut self, batch: &mut Batch) -> Result<usize, Fault> {
        let session = self.take_session().await?;
        let found = rehearse(&session, &self.options.store, batch).await;
        self.give_back(session, found).await
    }

    async fn apply_error(&mut self, fault: Fault) -> ApplyError {
        match fault {
            Fault::Refused(reason) | Fault::Failed(reason) | Fault::Lost(reason) => {
                ApplyError::NotApplied(reason)
            }
            Fault::Unknown(reason) => ApplyError::Unknown(reason),
            Fault::Moved => match self.positions().await {
                Ok(stored) => {
                    ApplyError::Moved(stored.into_iter().map(|one| one.next_offset).collect())
                }
                Err(error) => ApplyError::NotApplied(error.to_string()),
            },
        }
    }
}

async fn transact(
    session: &Session,
    judge: &Judge<'_>,
    batch: &Batch,
    published: &[Range],
) -> Result<Vec<Applied>, Fault> {
    let limit = session.limits.exchange;
    let reading = async {
        let begin = session.client().batch_execute("BEGIN").err_into();
        let moved = rows::move_positions(session, batch).err_into();
        let needs = needs(&batch.records);
        let read = rows::read(session, &needs, oldest_key(judge));
        let ((), moved, loaded) = try_join3(begin, moved, read).await?;
        if moved != batch.ranges.len() as u64 {
            return Err(Fault::Moved);
        }
        Ok(loaded)
    };
    let loaded = within(limit, reading).await?;
    let changes = judge.decide(loaded, &batch.records);
    let applied = Applied::split(&batch.ranges, &changes.todos, &changes.outcomes);
    if session.client().is_closed() {
        return Err(Fault::Lost("the connection is closed".to_owned()));
    }
    reach(Point::BeforeCommit);
    let writing = async {
        let early = |error| Fault::before_commit(&error);
        let write = write(session, &changes, judge.latest).map_err(early);
        let sweep = rows::delete_outbox(session, published).map_err(early);
        let hand_on = rows::put_outbox(session, &applied).map_err(early);
        let commit = session.client().batch_execute("COMMIT");
        let commit = commit.map_err(|error| Fault::at_commit(&error));
        try_join4(write, sweep, hand_on, commit).await
    };
    let written = timeout(limit, writing).await;
    reach(Point::Committed);
    match written {
        Ok(written) => written.map(|_| applied),
        Err(_) => Err(Fault::Unknown(no_answer(limit))),
    }
}

/// Turns into poison what the database refuses, in a transaction that is rolled back. Returns how
/// many commands that were.
///
/// What goes well whole is none; what does not is halved, and its first half is in force when the
/// second is tried. So a batch with one poisonous command costs the work of two batches, and not a
/// few exchanges for each command.
async fn rehearse(session: &Session, options: &Options, batch: &mut Batch) -> Result<usize, Fault> {
    let judge = Judge::of(&batch.records, options);
    session.exchange("BEGIN").await?;
    let mut found = 0;
    let whole = 0..batch.records.len();
    let mut to_try = vec![whole];
    while let Some(part) = to_try.pop() {
        let records = &batch.records[part.clone()];
        let Some(reason) = refusal(session, &judge, records).await? else {
            continue;
        };
        if part.len() > 1 {
            let middle = part.start + part.len() / 2;
            to_try.extend([middle..part.end, part.start..middle]);
        } else if let Some(poison) = poison(&records[0], reason) {
            batch.records[part.start].payload = poison;
            found += 1;
        }
    }
    session.exchange("ROLLBACK").await?;
    Ok(found)
}

/// Why the database refuses `records`, if it does; otherwise their effects stay in the transaction.
async fn refusal(
    session: &Session,
    judge: &Judge<'_>,
    records: &[Record],
) -> Result<Option<String>, Fault> {
    let trying = async {
        let savepoint = session.client().batch_execute("SAVEPOINT part").err_into();
        let needs = needs(records);
        let read = rows::read(session, &needs, oldest_key(judge));
        let ((), loaded) = try_join(savepoint, read).await?;
        let changes = judge.decide(loaded, records);
        let write = write(session, &changes, judge.latest);
        let release = session.client().batch_execute("RELEASE part");
        try_join(write, release).await?;
        Ok(())
    };
    match within(session.limits.exchange, trying).await {
        Ok(()) => Ok(None),
        Err(Fault::Refused(reason)) => {
            session.exchange("ROLLBACK TO part; RELEASE part").await?;
            Ok(Some(reason))
        }
        Err(fault) => Err(fault),
    }
}

/// Boxed: it holds the columns of every table, and would make the futures around it large.
fn write<'a>(
    session: &'a Session,
    changes: &'a Changes,
    at: Timestamp,
) -> Pin<Box<impl Future<Output = Result<(), Error>>>> {
    Box::pin(rows::write(session, changes, at))
}

fn oldest_key(judge: &Judge<'_>) -> Timestamp {
    before(judge.earliest, judge.options.key_retention)
}
