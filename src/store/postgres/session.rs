//! A worker's connection, with the statements prepared on it.

use futures_util::future::try_join_all;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, NoTls, Statement};

use super::address::{Address, Limits, Role};
use super::fault::{Fault, no_answer, open_error, within};
use crate::store::OpenError;

/// Declares the statements of a session: prepared once, together, when it connects.
macro_rules! statements {
    ($($name:ident: $sql:expr,)+) => {
        pub(super) struct Statements {
            $(pub $name: Statement,)+
        }

        impl Statements {
            async fn prepare(client: &Client) -> Result<Self, Error> {
                let texts = [$($sql),+];
                let prepared = try_join_all(texts.map(|text| client.prepare(text))).await?;
                let mut prepared = prepared.into_iter();
                Ok(Self {
                    $($name: prepared.next().expect("as many as there are texts"),)+
                })
            }
        }
    };
}

/// How far each partition is applied, and by which record.
pub(super) const POSITIONS: &str = "SELECT partition, next_offset, last_offset, last_hash
    FROM positions ORDER BY partition";

statements! {
    move_positions: include_str!("../../../sql/postgres/move_positions.sql"),
    positions: POSITIONS,
    todos: "SELECT id, title, description, completed, user_id, created_at, updated_at
        FROM todos WHERE id = ANY($1)",
    keys: "SELECT scope, fingerprint, outcome FROM keys
        WHERE scope = ANY($1) AND appended_at >= $2",
    gift_codes: "SELECT user_id, code FROM gift_codes WHERE user_id = ANY($1)",
    issued: "SELECT issued FROM gift_stock",
    put_todos: include_str!("../../../sql/postgres/put_todos.sql"),
    delete_todos: "DELETE FROM todos WHERE id = ANY($1)",
    put_keys: include_str!("../../../sql/postgres/put_keys.sql"),
    put_gift_codes: "INSERT INTO gift_codes (user_id, code, issued_at)
        SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])",
    issue: "UPDATE gift_stock SET issued = issued + $1",
    put_outcomes: include_str!("../../../sql/postgres/put_outcomes.sql"),
    put_dead_letters: include_str!("../../../sql/postgres/put_dead_letters.sql"),
    put_outbox: "INSERT INTO outbox (partition, log_from, log_to, payload)
        SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bytea[])",
    outbox: "SELECT partition, log_from, log_to, payload FROM outbox WHERE partition = ANY($1)
        ORDER BY partition, log_from LIMIT $2",
    published: "DELETE FROM outbox
        USING unnest($1::integer[], $2::bigint[]) AS gone (partition, log_from)
        WHERE outbox.partition = gone.partition AND outbox.log_from = gone.log_from",
    forget_keys: include_str!("../../../sql/postgres/forget_keys.sql"),
    forget_outcomes: include_str!("../../../sql/postgres/forget_outcomes.sql"),
}

/// What drives a connection; the connection is closed with it.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection that nobody shares. Its end is seen at the next use.
pub(super) struct Connection {
    pub client: Client,
    _driver: Driver,
}

impl Connection {
    pub async fn open(address: &Address, role: Role, limits: &Limits) -> Result<Self, OpenError> {
        let connecting = async {
            let config = address.config(role, limits);
            let connected = config.connect(NoTls).await;
            let (client, connection) = connected.map_err(|error| open_error(&error))?;
            // How it ends, its client is told as well.
            let driver = Driver(tokio::spawn(async move { drop(connection.await) }));
            Ok(Self {
                client,
                _driver: driver,
            })
        };
        opening(*limits, connecting).await
    }
}

/// Waits for what opens a database for as long as connecting may take.
pub(super) async fn opening<T>(
    limits: Limits,
    work: impl Future<Output = Result<T, OpenError>>,
) -> Result<T, OpenError> {
    match timeout(limits.connect, work).await {
        Ok(opened) => opened,
        Err(_) => Err(OpenError::Unreachable(no_answer(limits.connect))),
    }
}

pub(super) struct Session {
    pub connection: Connection,
    pub statements: Statements,
    pub limits: Limits,
}

impl Session {
    /// On a connection to a database whose schema is known to be right.
    pub async fn prepare(connection: Connection, limits: Limits) -> Result<Self, OpenError> {
        let statements = Statements::prepare(&connection.client).await;
        let statements = statements.map_err(|error| open_error(&error))?;
        Ok(Self {
            connection,
            statements,
            limits,
        })
    }

    pub fn client(&self) -> &Client {
        &self.connection.client
    }

    /// Sent when it is polled first; not bounded in time.
    pub async fn execute(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<(), Error> {
        self.client().execute(statement, parameters).await.map(drop)
    }

    /// Statements without parameters, in one exchange with the server.
    pub async fn exchange(&self, sql: &str) -> Result<(), Fault> {
        let executing = async { Ok(self.client().batch_execute(sql).await?) };
        within(self.limits.exchange, executing).await
    }
}
