//! The schema: migrating it, and what is held against it before a database is used.

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::address::{Address, Limits, Role};
use super::fault::open_error;
use super::session::Connection;
use crate::store::OpenError;

mod embedded {
    refinery::embed_migrations!("sql/postgres");
}

/// "Mlpd": two that migrate one database at once take turns.
const LOCK: i64 = i32::from_be_bytes(*b"Mlpd") as i64;

const HAS_HISTORY: &str = "SELECT to_regclass('refinery_schema_history') IS NOT NULL";
const HAS_TABLES: &str = "SELECT coalesce(to_regclass('todos'), to_regclass('positions'),
    to_regclass('keys'), to_regclass('outcomes'), to_regclass('outbox')) IS NOT NULL";
const VERSION: &str = "SELECT coalesce(max(version), 0)::bigint FROM refinery_schema_history";
const ENCODING: &str = "SELECT current_setting('server_encoding')";
const MISSING_RIGHTS: &str = include_str!("../../../sql/postgres/missing_rights.sql");
const ADD_POSITIONS: &str = "INSERT INTO positions (partition)
    SELECT generate_series(0, $1 - 1) ON CONFLICT DO NOTHING";
const PARTITIONS: &str = "SELECT coalesce(max(partition) + 1, 0) FROM positions";

const WORKERS_RIGHTS: [(&str, &[&str]); 8] = [
    ("positions", &["SELECT", "INSERT", "UPDATE"]),
    ("todos", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("keys", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("gift_codes", &["SELECT", "INSERT"]),
    ("gift_stock", &["SELECT", "UPDATE"]),
    ("outcomes", &["SELECT", "INSERT", "DELETE"]),
    ("dead_letters", &["SELECT", "INSERT"]),
    ("outbox", &["SELECT", "INSERT", "DELETE"]),
];
const READERS_RIGHTS: [(&str, &[&str]); 3] = [
    ("positions", &["SELECT"]),
    ("todos", &["SELECT"]),
    ("outcomes", &["SELECT"]),
];

/// The versions of the schema before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    pub from: i64,
    pub to: i64,
}

/// Brings the schema up to date.
///
/// # Errors
/// A newer schema is left as it is, and so is a database that holds tables of these names and no
/// history of ours.
pub async fn migrate(address: &Address) -> Result<Migrated, OpenError> {
    let mut connection = Connection::open(address, Role::Operator, &Limits::default()).await?;
    let client = &mut connection.client;
    lock(client).await.map_err(|error| open_error(&error))?;
    let from = version(client).await.map_err(|error| open_error(&error))?;
    let known = known();
    if from > known {
        return Err(OpenError::Newer { found: from, known });
    }
    if from == 0 && has(client, HAS_TABLES).await? {
        let database = address.database();
        return Err(OpenError::Foreign(format!("the database `{database}`")));
    }
    // Versions count. Texts do not: a comment in a migration may be mended after the fact.
    let runner = embedded::migrations::runner().set_abort_divergent(false);
    match runner.run_async(client).await {
        Ok(_) => Ok(Migrated { from, to: known }),
        Err(error) => Err(OpenError::Failed(whole(&error))),
    }
}

/// refinery's texts say only that something went wrong; what did is behind.
fn whole(error: &dyn std::error::Error) -> String {
    let inner = error.source().and_then(|source| {
        let source = source.downcast_ref::<tokio_postgres::Error>()?;
        Some(super::fault::text(source))
    });
    inner.unwrap_or_else(|| error.to_string())
}

async fn lock(client: &Client) -> Result<(), tokio_postgres::Error> {
    // Held until the session ends.
    let sql = format!("SELECT pg_advisory_lock({LOCK})");
    client.batch_execute(&sql).await
}

async fn has(client: &Client, question: &str) -> Result<bool, OpenError> {
    let row = client.query_one(question, &[]).await;
    row.map(|row| row.get(0))
        .map_err(|error| open_error(&error))
}

/// The version of the schema that this program was written for.
fn known() -> i64 {
    let runner = embedded::migrations::runner();
    let versions = runner.get_migrations().iter();
    let known = versions.map(|migration| i64::from(migration.version()));
    known.max().unwrap_or_default()
}

async fn version(client: &Client) -> Result<i64, tokio_postgres::Error> {
    let has_history: bool = client.query_one(HAS_HISTORY, &[]).await?.get(0);
    if !has_history {
        return Ok(0);
    }
    Ok(client.query_one(VERSION, &[]).await?.get(0))
}

/// Refuses a database that cannot work with this program in this role.
pub(super) async fn check(client: &Client, role: Role) -> Result<(), OpenError> {
    let found = version(client).await.map_err(|error| open_error(&error))?;
    let known = known();
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    if found < known {
        return Err(OpenError::Older { found, known });
    }
    check_encoding(client).await?;
    let rights: &[(&str, &[&str])] = match role {
        Role::Worker => &WORKERS_RIGHTS,
        Role::Reader => &READERS_RIGHTS,
        Role::Operator => &[("dead_letters", &["SELECT"])],
        Role::Redriver => &[
            ("dead_letters", &["SELECT", "DELETE"]),
            ("positions", &["SELECT"]),
        ],
    };
    check_rights(client, rights).await
}

/// In another encoding some texts could not be stored, and their commands would become poison.
async fn check_encoding(client: &Client) -> Result<(), OpenError> {
    let row = client.query_one(ENCODING, &[]).await;
    let encoding: String = row.map_err(|error| open_error(&error))?.get(0);
    match encoding.as_str() {
        "UTF8" => Ok(()),
        _ => Err(OpenError::Failed(format!(
            "its encoding is {encoding}; create it with ENCODING 'UTF8' TEMPLATE template0"
        ))),
    }
}

async fn check_rights(client: &Client, rights: &[(&str, &[&str])]) -> Result<(), OpenError> {
    let pairs = rights.iter().flat_map(|(relation, privileges)| {
        let of_relation = privileges.iter();
        of_relation.map(move |privilege| (*relation, *privilege))
    });
    let (relations, privileges): (Vec<&str>, Vec<&str>) = pairs.unzip();
    let parameters: [&(dyn ToSql + Sync); 2] = [&relations, &privileges];
    let missing = client.query(MISSING_RIGHTS, &parameters).await;
    let missing = missing.map_err(|error| open_error(&error))?;
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<&str> = missing.iter().map(|row| row.get(0)).collect();
    Err(OpenError::Failed(format!(
        "the role has no right to {}; GRANT it",
        missing.join(", ")
    )))
}

/// Sees to it that there is a position for each partition.
pub(super) async fn add_positions(client: &Client, partitions: u16) -> Result<(), OpenError> {
    check_partitions(client, partitions).await?;
    let added = client
        .execute(ADD_POSITIONS, &[&i32::from(partitions)])
        .await;
    added.map(drop).map_err(|error| open_error(&error))
}

/// Commands of a partition that nobody consumes any more would be lost, and with more partitions
/// the commands of a todo would go on in another one, past those that wait.
pub(super) async fn check_partitions(client: &Client, configured: u16) -> Result<(), OpenError> {
    let row = client.query_one(PARTITIONS, &[]).await;
    let found: i32 = row.map_err(|error| open_error(&error))?.get(0);
    if found != 0 && found != i32::from(configured) {
        return Err(OpenError::Partitions {
            found: found.unsigned_abs(),
            configured,
        });
    }
    Ok(())
}
