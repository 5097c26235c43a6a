//! A database of a test's own, made and dropped with it.

use std::fmt::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

use crate::domain::Range;
use crate::services;
use crate::store::contract::Place;
use crate::store::postgres::{self, Address, Limits, migrate};
use crate::store::{DeadLetters, Options, Store};

pub(crate) struct Database {
    pub url: String,
    name: String,
}

impl Database {
    /// With the schema in it.
    pub async fn new() -> Self {
        let database = Self::empty().await;
        migrate(&database.address()).await.unwrap();
        database
    }

    pub async fn empty() -> Self {
        static NTH: AtomicU32 = AtomicU32::new(0);
        let nth = NTH.fetch_add(1, Ordering::Relaxed);
        let name = format!("millpond_test_{}_{nth}", std::process::id());
        let admin = connect(&services::database_url()).await;
        let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        admin.batch_execute(&sql).await.unwrap();
        let sql = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0");
        admin.batch_execute(&sql).await.unwrap();
        let mut url = services::database_url();
        url.truncate(url.rfind('/').unwrap() + 1);
        url.push_str(&name);
        Self { url, name }
    }

    pub fn address(&self) -> Address {
        self.url.parse().unwrap()
    }

    pub fn options(&self, partitions: u16) -> postgres::Options {
        self.options_for(Options {
            partitions,
            ..Options::default()
        })
    }

    fn options_for(&self, store: Options) -> postgres::Options {
        postgres::Options {
            address: self.address(),
            store,
            pool_size: 4,
            limits: Limits::default(),
        }
    }

    pub async fn store(&self, partitions: u16) -> postgres::Store {
        postgres::Store::open(self.options(partitions))
            .await
            .unwrap()
    }

    /// The database as an operator sees it.
    pub async fn shell(&self) -> Client {
        connect(&self.url).await
    }

    /// Ends every session of the store, as an operator or a restart would.
    pub async fn end_sessions(&self) {
        let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        self.shell().await.execute(sql, &[]).await.unwrap();
    }

    pub async fn count(&self, from: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {from}");
        let shell = self.shell().await;
        shell.query_one(&sql, &[]).await.unwrap().get(0)
    }

    /// What waits in the outbox.
    pub async fn outbox(&self) -> Vec<Range> {
        let sql = "SELECT partition, log_from, log_to FROM outbox ORDER BY partition, log_from";
        let rows = self.shell().await.query(sql, &[]).await.unwrap();
        let range = |row: &tokio_postgres::Row| Range {
            partition: u16::try_from(row.get::<_, i32>(0)).unwrap(),
            from: row.get::<_, i64>(1).cast_unsigned(),
            to: row.get::<_, i64>(2).cast_unsigned(),
        };
        rows.iter().map(range).collect()
    }
}

pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client
}

impl Drop for Database {
    /// On a thread of its own: a drop cannot wait for the test's runtime.
    fn drop(&mut self) {
        let mut sql = String::new();
        write!(sql, "DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name).unwrap();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let admin = connect(&services::database_url()).await;
                drop(admin.batch_execute(&sql).await);
            });
        });
        drop(dropping.join());
    }
}

impl Place for Database {
    async fn open(&self, options: Options) -> Store {
        let opened = postgres::Store::open(self.options_for(options)).await;
        Store::Postgres(opened.unwrap())
    }

    /// Rows only: making a database anew takes much longer.
    async fn clear(&self) {
        let sql = "DELETE FROM todos; DELETE FROM keys; DELETE FROM gift_codes;
            UPDATE gift_stock SET issued = 0; DELETE FROM positions; DELETE FROM outcomes;
            DELETE FROM dead_letters; DELETE FROM outbox";
        self.shell().await.batch_execute(sql).await.unwrap();
    }

    async fn dead_letters(&self) -> DeadLetters {
        let letters = postgres::DeadLetters::open_to_remove(&self.address()).await;
        DeadLetters::Postgres(letters.unwrap())
    }
}

/// Short enough for a test that waits for one of them to pass.
pub fn short() -> Limits {
    const LIMIT: Duration = Duration::from_millis(300);
    Limits {
        connect: LIMIT * 4,
        statement: LIMIT,
        lock: LIMIT,
        idle_in_transaction: LIMIT,
        exchange: LIMIT * 2,
    }
}
