//! What a worker's session has set, whatever its database has, and that its statements go by keys.

use std::collections::BTreeMap;

use tokio::task::yield_now;
use tokio_postgres::Client;

use super::{Database, at, create, creates};
use crate::domain::{
    Action, Batch, Command, Hash128, Idempotency, Payload, Range, Record, Timestamp,
};

/// Of the database and of the worker: what it needs for its promise, its patience and its plans.
const SETTINGS: [(&str, &str, &str); 6] = [
    ("synchronous_commit", "off", "on"),
    ("lock_timeout", "1h", "5s"),
    ("statement_timeout", "1h", "10s"),
    ("idle_in_transaction_session_timeout", "1h", "5s"),
    ("enable_seqscan", "on", "off"),
    ("jit", "on", "off"),
];

/// Batches: more than PostgreSQL plans anew before it may keep a plan.
const BATCHES: u64 = 12;

async fn setting(client: &Client, name: &str) -> String {
    let sql = "SELECT current_setting($1)";
    client.query_one(sql, &[&name]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_workers_settings_are_its_own_whatever_the_database_has() {
    let database = Database::new().await;
    let name = database.url.rsplit_once('/').unwrap().1.to_owned();
    let shell = database.shell().await;
    for (setting, value, _) in SETTINGS {
        let sql = format!("ALTER DATABASE {name} SET {setting} = '{value}'");
        shell.batch_execute(&sql).await.unwrap();
    }
    let (shell, store) = (database.shell().await, database.store(1).await);
    let worker = store.session.as_ref().unwrap().client();
    for (name, of_database, own) in SETTINGS {
        assert_eq!(setting(&shell, name).await, of_database, "{name}");
        assert_eq!(setting(worker, name).await, own, "{name}");
    }
}

/// One of everything that a worker does: a todo that is new, one that is updated, one that goes, a
/// write that is rejected, a gift code, and a key for each.
fn of_everything(nth: u64) -> Batch {
    let id = |nth: u64| match create(0, nth).action {
        Action::Create { id, .. } => id,
        other => panic!("{other:?}"),
    };
    let (from, previous) = (nth * 5, nth.saturating_sub(1) * 5);
    let actions = [
        create(0, from).action,
        create(0, from + 1).action,
        Action::Update {
            id: id(previous),
            title: "anew".into(),
            description: String::new(),
            completed: true,
            if_match: None,
        },
        Action::Delete {
            id: id(previous + 1),
            if_match: None,
        },
        Action::ClaimGiftCode {
            code: format!("code {nth}"),
        },
    ];
    let record = |(offset, action): (u64, Action)| Record {
        position: at(0, offset),
        appended_at: Timestamp::from_micros(offset.cast_signed()),
        payload: Payload::Command(Command {
            user: format!("user {nth}"),
            at: Timestamp::from_micros(offset.cast_signed()),
            key: Some(Idempotency {
                scope: Hash128(offset.into()),
                fingerprint: Hash128(1),
            }),
            action,
        }),
    };
    Batch {
        records: (from..).zip(actions).map(record).collect(),
        ..creates(0, from, from + 5)
    }
}

/// How often each table was read from end to end, by sessions that have ended. That of the stock
/// has one row and no other way.
async fn scans(shell: &Client) -> BTreeMap<String, i64> {
    let others = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND backend_type = 'client backend'";
    while shell.query_one(others, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        yield_now().await;
    }
    let sql = "SELECT relname::text, seq_scan FROM pg_stat_user_tables
        WHERE relname NOT IN ('gift_stock', 'refinery_schema_history')";
    let rows = shell.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn a_worker_reads_no_table_from_end_to_end_however_small_it_is() {
    let database = Database::new().await;
    let shell = database.shell().await;
    let before = scans(&shell).await;
    assert!(before.len() > 5, "{before:?}");
    let mut store = database.store(1).await;
    for nth in 0..BATCHES {
        let applied = store.apply(&mut of_everything(nth)).await.unwrap();
        assert_eq!(store.unpublished(&[0]).await.unwrap(), applied);
        let (from, to) = (nth * 5, nth * 5 + 5);
        store.published(&[Range {
            partition: 0,
            from,
            to,
        }]);
        store.settle().await.unwrap();
        store
            .forget(Timestamp::from_micros(i64::MAX))
            .await
            .unwrap();
        store.positions().await.unwrap();
    }
    drop(store);
    assert_eq!(scans(&shell).await, before);
}
