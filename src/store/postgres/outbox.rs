//! The outbox: what was applied and is on its way into the feed. Rows are written with the
//! transaction that they tell of and deleted once the feed has them.

use futures_util::TryFutureExt;
use futures_util::future::try_join4;
use tokio_postgres::{Error, Row};
use tracing::warn;

use super::Store;
use super::fault::{Fault, within};
use super::rows;
use super::session::Session;
use crate::domain::{APPLIED_BYTES_MAX, Applied, Range};
use crate::store::StoreError;

/// The fastest of zstd's ordinary levels: a row is written once and, as a rule, never read.
const LEVEL: i32 = 1;
/// Rows that one call reads, at most; there are more only if the feed was away for long.
const ROWS_MAX: i64 = 128;

impl Store {
    /// What is no record of the feed, since another version of this program wrote it, is passed over
    /// and leaves the outbox: servers find that the feed goes on behind it, and load what it told of.
    pub(in crate::store) async fn unpublished(
        &mut self,
        partitions: &[u16],
    ) -> Result<Vec<Applied>, StoreError> {
        loop {
            // What the feed has would be read again.
            self.settle().await?;
            let session = self.take_session().await?;
            let read = unpublished(&session, partitions).await;
            let rows = self.give_back(session, read).await?;
            let is_end = rows.is_empty();
            let mut all = Vec::with_capacity(rows.len());
            for Waiting { range, applied } in rows {
                match applied {
                    Ok(applied) => all.push(applied),
                    Err(reason) => {
                        warn!(?range, reason, "a row of the outbox is passed over");
                        self.published.push(range);
                    }
                }
            }
            if is_end || !all.is_empty() {
                return Ok(all);
            }
        }
    }

    pub(in crate::store) fn published(&mut self, ranges: &[Range]) {
        self.published.extend_from_slice(ranges);
    }

    /// Without waiting for the disk: a row that comes back after a crash is published twice, and
    /// readers drop what they have.
    pub(in crate::store) async fn settle(&mut self) -> Result<(), StoreError> {
        if self.published.is_empty() {
            return Ok(());
        }
        let session = self.take_session().await?;
        let settled = settle(&session, &self.published).await;
        self.give_back(session, settled).await?;
        self.published.clear();
        Ok(())
    }
}

/// A row of the outbox.
struct Waiting {
    range: Range,
    /// Or why it tells nothing.
    applied: Result<Applied, String>,
}

async fn unpublished(session: &Session, partitions: &[u16]) -> Result<Vec<Waiting>, Fault> {
    let partitions: Vec<i32> = partitions.iter().map(|one| i32::from(*one)).collect();
    let statement = &session.statements.outbox;
    let reading = async {
        let client = session.client();
        Ok(client.query(statement, &[&partitions, &ROWS_MAX]).await?)
    };
    let rows = within(session.limits.exchange, reading).await?;
    rows.iter().map(|row| Ok(waiting(row)?)).collect()
}

fn waiting(row: &Row) -> Result<Waiting, Error> {
    Ok(Waiting {
        range: rows::range(row)?,
        applied: unpack(row.try_get(3)?),
    })
}

/// What stands in a row: the record of the feed, compressed. That of some thousand creates has more
/// than a megabyte and shrinks several times over, and writing it is most of what an outbox costs
/// PostgreSQL.
pub(super) fn pack(applied: &Applied) -> Vec<u8> {
    zstd::bulk::compress(&applied.encode(), LEVEL).expect("there is memory for a smaller copy")
}

fn unpack(packed: &[u8]) -> Result<Applied, String> {
    let unpacked = zstd::bulk::decompress(packed, APPLIED_BYTES_MAX);
    let unpacked = unpacked.map_err(|error| error.to_string())?;
    Applied::decode(&unpacked.into()).map_err(|error| error.to_string())
}

async fn settle(session: &Session, published: &[Range]) -> Result<(), Fault> {
    let client = session.client();
    let settling = async {
        let begin = client.batch_execute("BEGIN");
        let setting = client.batch_execute("SET LOCAL synchronous_commit = off");
        let delete = rows::delete_outbox(session, published);
        let commit = client.batch_execute("COMMIT");
        try_join4(begin, setting, delete, commit).err_into().await
    };
    within(session.limits.exchange, settling).await.map(drop)
}
