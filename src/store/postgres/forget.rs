//! Dropping what is past its retention, a bounded number of rows at a time.
//!
//! Keys and outcomes go in statements of their own, each its own transaction: one that held keys
//! and waited for positions could meet a batch that does the opposite.

use tokio_postgres::Error;

use super::Store;
use super::fault::{Fault, within};
use super::session::Session;
use crate::domain::Timestamp;
use crate::store::judge::before;
use crate::store::{Options, StoreError};

/// Keys that one call drops, and outcomes of each partition, at most. More than a batch adds by
/// default; few enough to hold up the next batch by some 10 ms only.
const ROWS_MAX: i64 = 5000;

impl Store {
    pub(in crate::store) async fn forget(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        let session = self.take_session().await?;
        let forgotten = forget(&session, &self.options.store, now).await;
        Ok(self.give_back(session, forgotten).await?)
    }
}

async fn forget(session: &Session, options: &Options, now: Timestamp) -> Result<bool, Fault> {
    let keys_before = before(now, options.key_retention);
    let outcomes_before = before(now, options.outcome_retention);
    let limit = session.limits.exchange;
    let keys = async { Ok(forget_keys(session, keys_before).await?) };
    let keys = within(limit, keys).await?;
    let outcomes = async { Ok(forget_outcomes(session, outcomes_before).await?) };
    let outcomes = within(limit, outcomes).await?;
    Ok(keys.max(outcomes) >= ROWS_MAX)
}

async fn forget_keys(session: &Session, before: Timestamp) -> Result<i64, Error> {
    let statement = &session.statements.forget_keys;
    let before = before.as_micros();
    let client = session.client();
    let gone = client.execute(statement, &[&before, &ROWS_MAX]).await?;
    Ok(gone.cast_signed())
}

async fn forget_outcomes(session: &Session, before: Timestamp) -> Result<i64, Error> {
    let statement = &session.statements.forget_outcomes;
    let before = before.as_micros();
    let client = session.client();
    let most = client.query_one(statement, &[&before, &ROWS_MAX]).await?;
    most.try_get(0)
}
