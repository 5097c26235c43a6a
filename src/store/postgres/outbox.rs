//! The outbox: what was applied and is on its way into the feed. Rows are written with the
//! transaction that they tell of and deleted once the feed has them.

use futures_util::TryFutureExt;
use futures_util::future::try_join4;

use super::Store;
use super::fault::{Fault, within};
use super::rows;
use super::session::Session;
use crate::domain::{Applied, Range};
use crate::store::StoreError;

/// The fastest of zstd's ordinary levels: a row is written once and, as a rule, never read.
const LEVEL: i32 = 1;
/// More than any record of the feed may have: what is larger, this program has not written.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// Rows that one call reads, at most; there are more only if the feed was away for long. Each is
/// no larger than a record of the feed may be, so they hold some 100 MB at the very most.
const ROWS_MAX: i64 = 128;

impl Store {
    pub(in crate::store) async fn unpublished(
        &mut self,
        partitions: &[u16],
    ) -> Result<Vec<Applied>, StoreError> {
        // What the feed has would be read again.
        self.settle().await?;
        let session = self.take_session().await?;
        let read = unpublished(&session, partitions).await;
        Ok(self.give_back(session, read).await?)
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

async fn unpublished(session: &Session, partitions: &[u16]) -> Result<Vec<Applied>, Fault> {
    let partitions: Vec<i32> = partitions.iter().map(|one| i32::from(*one)).collect();
    let statement = &session.statements.outbox;
    let reading = async {
        let client = session.client();
        Ok(client.query(statement, &[&partitions, &ROWS_MAX]).await?)
    };
    let rows = within(session.limits.exchange, reading).await?;
    rows.iter().map(|row| unpack(row.try_get(0)?)).collect()
}

/// What stands in a row: the record of the feed, compressed. That of 4,096 creates has 1.5 MB and
/// shrinks to a fifth: writing it takes PostgreSQL 4 ms instead of 15.
pub(super) fn pack(applied: &Applied) -> Vec<u8> {
    zstd::bulk::compress(&applied.encode(), LEVEL).expect("there is memory for a smaller copy")
}

fn unpack(packed: &[u8]) -> Result<Applied, Fault> {
    let strange = |error: String| Fault::Failed(format!("outbox: {error}"));
    let unpacked = zstd::bulk::decompress(packed, UNPACKED_BYTES_MAX);
    let unpacked = unpacked.map_err(|error| strange(error.to_string()))?;
    Applied::decode(&unpacked.into()).map_err(|error| strange(error.to_string()))
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
