//! The store of a fleet: PostgreSQL.
//!
//! A worker's [`Store`] has one connection, on the worker's own runtime, and knows no truth but
//! the database's: what it cannot finish it gives up together with the connection, and says what
//! may have become of it. Nothing is repeated here. A server's [`Reader`] has a pool.

mod address;
mod apply;
mod dead_letters;
mod fault;
mod forget;
mod outbox;
mod reader;
mod rows;
mod schema;
mod session;
#[cfg(test)]
mod tests;

pub use address::{Address, BadAddress, Limits};
pub use dead_letters::DeadLetters;
pub use reader::Reader;
pub use schema::{Migrated, migrate};

use super::{OpenError, StoreError};
use crate::domain::{Range, Stored};
use address::Role;
use fault::{Fault, within};
use session::{Connection, Session, opening};

/// What a store and a reader are opened with.
#[derive(Clone, Debug)]
pub struct Options {
    pub address: Address,
    pub store: super::Options,
    /// Connections of a reader, at most.
    pub pool_size: u32,
    pub limits: Limits,
}

/// A worker's end.
///
/// # Cancel safety
/// A call that is dropped takes the connection with it; a batch may or may not be applied then.
pub struct Store {
    // Boxed like the session: the store is one of two variants, and the other is small.
    options: Box<Options>,
    /// `None` where it was lost: the next call makes it anew. A call that works has it out, so
    /// that one which does not come to its end leaves none behind.
    session: Option<Box<Session>>,
    /// What the feed has and the outbox may still hold.
    published: Vec<Range>,
    reader: Reader,
}

impl Store {
    /// Opens the database for a worker. Its connection lives on the runtime that calls, which has
    /// time and I/O enabled.
    ///
    /// # Errors
    /// [`OpenError::Unreachable`] may pass; everything else is for an operator to mend.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let session = connect(&options).await?;
        let partitions = options.store.partitions;
        opening(
            options.limits,
            schema::add_positions(session.client(), partitions),
        )
        .await?;
        Ok(Self {
            reader: Reader::lazy(&options)?,
            options: Box::new(options),
            session: Some(session),
            published: Vec::new(),
        })
    }

    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    pub(super) async fn positions(&mut self) -> Result<Vec<Stored>, StoreError> {
        let session = self.take_session().await?;
        let read = positions(&session).await;
        Ok(self.give_back(session, read).await?)
    }

    /// The connection, made anew where it was lost or has ended.
    async fn take_session(&mut self) -> Result<Box<Session>, Fault> {
        match self.session.take() {
            Some(session) if !session.client().is_closed() => Ok(session),
            _ => connect(&self.options)
                .await
                .map_err(|error| Fault::Lost(error.to_string())),
        }
    }

    /// Keeps the connection for the next call if it is still good, out of any transaction.
    async fn give_back<T>(
        &mut self,
        session: Box<Session>,
        done: Result<T, Fault>,
    ) -> Result<T, Fault> {
        let is_good = match &done {
            Ok(_) => true,
            Err(fault) if fault.is_connection_alive() => session.exchange("ROLLBACK").await.is_ok(),
            Err(_) => false,
        };
        self.session = is_good.then_some(session);
        done
    }
}

/// Checks the schema each time: it may have been migrated while the connection was lost.
async fn connect(options: &Options) -> Result<Box<Session>, OpenError> {
    let limits = options.limits;
    opening(limits, async {
        let connection = Connection::open(&options.address, Role::Worker, &limits).await?;
        schema::check(&connection.client, Role::Worker).await?;
        Session::prepare(connection, limits).await.map(Box::new)
    })
    .await
}

async fn positions(session: &Session) -> Result<Vec<Stored>, Fault> {
    let reading = async {
        let rows = session.client().query(&session.statements.positions, &[]);
        let stored: Result<Vec<Stored>, tokio_postgres::Error> =
            rows.await?.iter().map(rows::stored).collect();
        Ok(stored?)
    };
    within(session.limits.exchange, reading).await
}
