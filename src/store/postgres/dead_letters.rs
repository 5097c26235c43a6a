//! The dead letters, for an operator.

use tokio_postgres::Row;

use super::address::{Address, Limits, Role};
use super::fault::within;
use super::session::{Connection, POSITIONS};
use super::{rows, schema};
use crate::domain::{DeadLetter, Position, Stored, Timestamp};
use crate::store::{Buried, OpenError, StoreError};

const LIST: &str = "SELECT partition, log_offset, user_id, reason, appended_at FROM dead_letters
    WHERE (partition, log_offset) > ($1, $2) ORDER BY partition, log_offset LIMIT $3";
const ONE: &str = "SELECT user_id, reason, payload FROM dead_letters
    WHERE partition = $1 AND log_offset = $2";
const REMOVE: &str = "DELETE FROM dead_letters WHERE (partition, log_offset) IN
    (SELECT * FROM unnest($1::integer[], $2::bigint[]))";

/// Its connection lives on the runtime that opens it.
pub struct DeadLetters {
    connection: Connection,
    limits: Limits,
}

impl DeadLetters {
    /// Opens the database to look at them.
    ///
    /// # Errors
    /// [`OpenError::Unreachable`] may pass; everything else is for an operator to mend.
    pub async fn open(address: &Address) -> Result<Self, OpenError> {
        Self::open_as(Role::Operator, address).await
    }

    /// Opens the database to look at them and to remove those that are sent again.
    ///
    /// # Errors
    /// As [`DeadLetters::open`].
    pub async fn open_to_remove(address: &Address) -> Result<Self, OpenError> {
        Self::open_as(Role::Redriver, address).await
    }

    /// Where the database stands in its log.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn stored(&self) -> Result<Vec<Stored>, StoreError> {
        let client = &self.connection.client;
        let reading = async {
            let rows = client.query(POSITIONS, &[]).await?;
            let stored: Result<_, tokio_postgres::Error> = rows.iter().map(rows::stored).collect();
            Ok(stored?)
        };
        Ok(within(self.limits.exchange, reading).await?)
    }

    async fn open_as(role: Role, address: &Address) -> Result<Self, OpenError> {
        let limits = Limits::default();
        let connection = Connection::open(address, role, &limits).await?;
        schema::check(&connection.client, role).await?;
        Ok(Self { connection, limits })
    }

    pub(in crate::store) async fn list(
        &self,
        after: Option<Position>,
        limit: u32,
    ) -> Result<Vec<Buried>, StoreError> {
        let (partition, offset) = after.map_or((-1, 0), key);
        let client = &self.connection.client;
        let listing = async {
            let rows = client
                .query(LIST, &[&partition, &offset, &i64::from(limit)])
                .await?;
            let buried: Result<_, tokio_postgres::Error> = rows.iter().map(buried).collect();
            Ok(buried?)
        };
        Ok(within(self.limits.exchange, listing).await?)
    }

    pub(in crate::store) async fn one(
        &self,
        position: Position,
    ) -> Result<Option<DeadLetter>, StoreError> {
        let (partition, offset) = key(position);
        let client = &self.connection.client;
        let finding = async {
            let row = client.query_opt(ONE, &[&partition, &offset]).await?;
            let letter = row.map(|row| letter(position, &row)).transpose();
            Ok(letter?)
        };
        Ok(within(self.limits.exchange, finding).await?)
    }

    pub(in crate::store) async fn remove(&self, positions: &[Position]) -> Result<(), StoreError> {
        let keys = positions.iter().copied().map(key);
        let (partitions, offsets): (Vec<i32>, Vec<i64>) = keys.unzip();
        let client = &self.connection.client;
        let removing = async { Ok(client.execute(REMOVE, &[&partitions, &offsets]).await?) };
        within(self.limits.exchange, removing).await?;
        Ok(())
    }
}

fn key(position: Position) -> (i32, i64) {
    (position.partition.into(), position.offset.cast_signed())
}

fn buried(row: &Row) -> Result<Buried, tokio_postgres::Error> {
    Ok(Buried {
        position: Position {
            partition: u16::try_from(row.try_get::<_, i32>(0)?).unwrap_or(u16::MAX),
            offset: row.try_get::<_, i64>(1)?.cast_unsigned(),
        },
        user: row.try_get(2)?,
        reason: row.try_get(3)?,
        appended_at: Timestamp::from_micros(row.try_get(4)?),
    })
}

fn letter(position: Position, row: &Row) -> Result<DeadLetter, tokio_postgres::Error> {
    Ok(DeadLetter {
        position,
        user: row.try_get(0)?,
        reason: row.try_get(1)?,
        payload: row.try_get(2)?,
    })
}
