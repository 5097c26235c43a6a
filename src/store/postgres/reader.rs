//! What servers read: what became of a command, and everything there is to serve.
//!
//! Serving cores have a runtime each, and they end at different times, while a connection lives
//! on the runtime that made it. So the pool has a thread and a runtime of its own; whoever asks
//! hands the question over and waits for the answer.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bb8::{Pool, RunError};
use bb8_postgres::PostgresConnectionManager;
use futures_util::{TryStreamExt, pin_mut};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row};

use super::address::{Address, Limits, Role};
use super::fault::{Fault, within};
use super::session::{Connection, opening};
use super::{Options, rows, schema};
use crate::domain::{Position, Todo};
use crate::store::{Known, OpenError, StoreError};

const FIND_OUTCOME: &str = include_str!("../../../sql/postgres/find_outcome.sql");
const POSITIONS: &str = "SELECT partition, next_offset FROM positions WHERE partition < $1";
const TODOS: &str = "SELECT id, title, description, completed, user_id, created_at, updated_at
    FROM todos ORDER BY created_at, id";
/// A load is one long statement. It is bounded here, by the time between two pieces of it.
const BEGIN_LOAD: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL statement_timeout = 0";

/// Todos of one piece of a load: handed over at once, so that threads wake each other seldom.
const PIECE_TODOS: usize = 1000;
/// Pieces that wait for who builds a snapshot of them; then the server waits.
const PIECES_MAX: usize = 4;

type Connections = Pool<PostgresConnectionManager<NoTls>>;

#[derive(Clone)]
pub struct Reader {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Connections,
    /// Of the pool's thread.
    runtime: Handle,
    address: Address,
    limits: Limits,
    partitions: u16,
    /// Dropped with the last reader, it ends the thread.
    _end: oneshot::Sender<()>,
}

impl Reader {
    /// Opens the database for a server.
    ///
    /// # Errors
    /// Those of [`Reader::check`].
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        let reader = Self::lazy(options)?;
        reader.check().await.map(|()| reader)
    }

    /// Whether the database is there, and the one that this program and its configuration want.
    ///
    /// # Errors
    /// [`OpenError::Unreachable`] may pass; everything else is for an operator to mend.
    ///
    /// # Cancel safety
    /// The connection that looks ends with its look.
    pub async fn check(&self) -> Result<(), OpenError> {
        let inner = Arc::clone(&self.inner);
        let checked = opening(self.inner.limits, async move {
            let connection = Connection::open(&inner.address, Role::Reader, &inner.limits).await?;
            schema::check(&connection.client, Role::Reader).await?;
            schema::check_partitions(&connection.client, inner.partitions).await
        });
        let checked = self.inner.runtime.spawn(checked).await;
        checked.unwrap_or_else(|error| Err(OpenError::Failed(error.to_string())))
    }

    /// Without a look at the database: it connects when it is asked something.
    ///
    /// # Errors
    /// [`OpenError::Failed`]: no thread left.
    pub fn lazy(options: &Options) -> Result<Self, OpenError> {
        let limits = options.limits;
        let config = options.address.config(Role::Reader, &limits);
        let (runtime, end) =
            start_thread().map_err(|error| OpenError::Failed(error.to_string()))?;
        let pool = {
            let _entered = runtime.enter();
            Pool::builder()
                .max_size(options.pool_size)
                .min_idle(0)
                .connection_timeout(limits.connect)
                // The first error is the answer, rather than a time-out later on.
                .retry_connection(false)
                .build_unchecked(PostgresConnectionManager::new(config, NoTls))
        };
        let inner = Inner {
            pool,
            runtime,
            address: options.address.clone(),
            limits,
            partitions: options.store.partitions,
            _end: end,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    pub(in crate::store) async fn find(&self, position: Position) -> Result<Known, StoreError> {
        let inner = Arc::clone(&self.inner);
        self.run(async move { inner.find(position).await }).await
    }

    pub(in crate::store) async fn positions(&self) -> Result<Vec<u64>, StoreError> {
        let inner = Arc::clone(&self.inner);
        self.run(async move {
            let limit = inner.limits.exchange;
            let connection = inner.connection().await?;
            within(limit, positions(&connection, inner.partitions)).await
        })
        .await
    }

    /// # Cancel safety
    /// The load ends, and its connection with it.
    pub(in crate::store) async fn load(
        &self,
        sink: &mut (dyn FnMut(Todo) + Send),
    ) -> Result<Vec<u64>, StoreError> {
        let inner = Arc::clone(&self.inner);
        let (pieces, mut arriving) = mpsc::channel(PIECES_MAX);
        let loading = self.run(async move { inner.load(pieces).await });
        let receiving = async {
            while let Some(piece) = arriving.recv().await {
                for todo in piece {
                    sink(todo);
                }
            }
        };
        let (loaded, ()) = futures_util::future::join(loading, receiving).await;
        loaded
    }

    /// Runs `work` on the pool's thread.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.inner.runtime.spawn(work).await {
            Ok(done) => Ok(done?),
            // The thread is ending.
            Err(error) => Err(StoreError::Again(error.to_string())),
        }
    }
}

/// A thread with a runtime that ends when the sender is dropped.
fn start_thread() -> io::Result<(Handle, oneshot::Sender<()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (end, ended) = oneshot::channel();
    thread::Builder::new()
        .name("store-reader".to_owned())
        .spawn(move || drop(runtime.block_on(ended)))?;
    Ok((handle, end))
}

type Pooled<'a> = bb8::PooledConnection<'a, PostgresConnectionManager<NoTls>>;

impl Inner {
    async fn connection(&self) -> Result<Pooled<'_>, Fault> {
        self.pool.get().await.map_err(|error| match error {
            RunError::User(error) => error.into(),
            RunError::TimedOut => Fault::Lost(format!(
                "no connection within {:?}: they are all in use, or cannot be made",
                self.limits.connect
            )),
        })
    }

    async fn find(&self, position: Position) -> Result<Known, Fault> {
        if position.partition >= self.partitions {
            return Ok(Known::Forgotten);
        }
        let connection = self.connection().await?;
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [
            (&i32::from(position.partition), Type::INT4),
            (&position.offset.cast_signed(), Type::INT8),
        ];
        let finding = async {
            let row = connection
                .query_typed_opt(FIND_OUTCOME, &parameters)
                .await?;
            // Before a worker has been there, nothing is applied.
            row.map_or(Ok(Known::Ahead), |row| known(&row, position))
        };
        within(self.limits.exchange, finding).await
    }

    /// On a connection of its own, which is used for long and ends with the load, however that
    /// ends.
    async fn load(&self, pieces: mpsc::Sender<Vec<Todo>>) -> Result<Vec<u64>, Fault> {
        let connection = Connection::open(&self.address, Role::Reader, &self.limits).await;
        let connection = connection.map_err(|error| Fault::Lost(error.to_string()))?;
        let client = &connection.client;
        let beginning = async { Ok(client.batch_execute(BEGIN_LOAD).await?) };
        within(self.limits.exchange, beginning).await?;
        load(client, &pieces, self.partitions, self.limits.exchange).await
    }
}

fn known(row: &Row, position: Position) -> Result<Known, Fault> {
    let exceptional = match row.try_get::<_, Option<&str>>(3)? {
        Some(text) => Some((row.try_get(2)?, rows::from_json(text)?)),
        None => None,
    };
    let next_offset = row.try_get::<_, i64>(0)?.cast_unsigned();
    let outcomes_from = row.try_get::<_, i64>(1)?.cast_unsigned();
    Ok(Known::at(position, next_offset, outcomes_from, exceptional))
}

/// By partition; one that no worker has been at stands at 0.
async fn positions(client: &Client, partitions: u16) -> Result<Vec<u64>, Fault> {
    let mut positions = vec![0; usize::from(partitions)];
    let parameter = i32::from(partitions);
    for row in client
        .query_typed(POSITIONS, &[(&parameter, Type::INT4)])
        .await?
    {
        let partition = usize::try_from(row.try_get::<_, i32>(0)?);
        let slot = partition.ok().and_then(|nth| positions.get_mut(nth));
        if let Some(slot) = slot {
            *slot = row.try_get::<_, i64>(1)?.cast_unsigned();
        }
    }
    Ok(positions)
}

async fn load(
    client: &Client,
    pieces: &mpsc::Sender<Vec<Todo>>,
    partitions: u16,
    limit: Duration,
) -> Result<Vec<u64>, Fault> {
    let positions = within(limit, positions(client, partitions)).await?;
    let asking = async { Ok(client.query_typed_raw(TODOS, NO_PARAMETERS).await?) };
    let rows = within(limit, asking).await?;
    pin_mut!(rows);
    loop {
        let mut piece = Vec::with_capacity(PIECE_TODOS);
        let reading = async {
            while piece.len() < PIECE_TODOS
                && let Some(row) = rows.try_next().await?
            {
                piece.push(rows::todo(&row)?);
            }
            Ok(())
        };
        within(limit, reading).await?;
        let is_last = piece.len() < PIECE_TODOS;
        if pieces.send(piece).await.is_err() {
            return Err(Fault::Failed("nobody waits for the load".to_owned()));
        }
        if is_last {
            return Ok(positions);
        }
    }
}

const NO_PARAMETERS: [(&(dyn ToSql + Sync), Type); 0] = [];
