//! The dead letters, for an operator to look at.

use tokio_postgres::Row;

use super::address::{Address, Limits, Role};
use super::fault::within;
use super::schema;
use super::session::Connection;
use crate::domain::{DeadLetter, Position, Timestamp};
use crate::store::{OpenError, StoreError};

const LIST: &str = "SELECT partition, log_offset, user_id, reason, appended_at FROM dead_letters
    WHERE (partition, log_offset) > ($1, $2) ORDER BY partition, log_offset LIMIT $3";
const ONE: &str = "SELECT user_id, reason, payload FROM dead_letters
    WHERE partition = $1 AND log_offset = $2";

/// What stands in the list of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buried {
    pub position: Position,
    /// Empty where the command could not be read.
    pub user: String,
    pub reason: String,
    pub appended_at: Timestamp,
}

/// Reads the dead letters. Its connection lives on the runtime that opens it.
pub struct DeadLetters {
    connection: Connection,
    limits: Limits,
}

impl DeadLetters {
    pub async fn open(address: &Address) -> Result<Self, OpenError> {
        let limits = Limits::default();
        let connection = Connection::open(address, Role::Operator, &limits).await?;
        schema::check(&connection.client, Role::Operator).await?;
        Ok(Self { connection, limits })
    }

    /// The next ones behind `after`, or the first, in the order of their positions; `limit` at
    /// most.
    pub async fn list(
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

    /// One with its payload, as it stood in the log.
    pub async fn one(&self, position: Position) -> Result<Option<DeadLetter>, StoreError> {
        let (partition, offset) = key(position);
        let client = &self.connection.client;
        let finding = async {
            let row = client.query_opt(ONE, &[&partition, &offset]).await?;
            let letter = row.map(|row| letter(position, &row)).transpose();
            Ok(letter?)
        };
        Ok(within(self.limits.exchange, finding).await?)
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
