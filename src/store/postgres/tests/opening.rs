//! What is refused before anything is done, and in which words.

use std::process::Command;

use super::{Database, creates};
use crate::store::OpenError;
use crate::store::postgres::{Address, Migrated, Options, Reader, Store, migrate};

async fn refused(options: Options) -> OpenError {
    let store = Store::open(options.clone()).await.err().unwrap();
    let reader = Reader::open(&options).await.err().unwrap();
    assert_eq!(store.to_string(), reader.to_string());
    store
}

#[tokio::test]
async fn a_database_without_the_schema_says_to_migrate() {
    let database = Database::empty().await;
    let text = refused(database.options(1)).await.to_string();
    assert!(text.contains("millpond migrate"), "{text}");
    let migrated = migrate(&database.address()).await.unwrap();
    assert_eq!(migrated, Migrated { from: 0, to: 1 });
    let again = migrate(&database.address()).await.unwrap();
    assert_eq!(again, Migrated { from: 1, to: 1 });
    database.store(1).await;
}

#[tokio::test]
async fn two_may_migrate_at_once() {
    let database = Database::empty().await;
    let address = database.address();
    let both = futures_util::future::join(migrate(&address), migrate(&address));
    let (one, other) = both.await;
    let mut from = [one.unwrap().from, other.unwrap().from];
    from.sort_unstable();
    assert_eq!(from, [0, 1]);
}

#[tokio::test]
async fn the_plain_sql_applies_by_hand() {
    let database = Database::empty().await;
    let sql = concat!(env!("CARGO_MANIFEST_DIR"), "/sql/postgres");
    let output = Command::new("psql")
        .args(["-v", "ON_ERROR_STOP=1", "-1", "-q", "-X"])
        .args(["-f", &format!("{sql}/V1__initial.sql")])
        .args(["-f", &format!("{sql}/applied_by_hand.sql")])
        .arg(&database.url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut store = database.store(1).await;
    store.apply(&mut creates(0, 0, 3)).await.unwrap();
    let migrated = migrate(&database.address()).await.unwrap();
    assert_eq!(migrated, Migrated { from: 1, to: 1 });
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = Database::new().await;
    let sql = "INSERT INTO refinery_schema_history
        VALUES (99, 'future', '2030-01-01T00:00:00Z', '1')";
    database.shell().await.batch_execute(sql).await.unwrap();
    let migrated = migrate(&database.address()).await.err().unwrap();
    for error in [refused(database.options(1)).await, migrated] {
        let (found, known) = (99, 1);
        assert!(
            matches!(error, OpenError::Newer { found: f, known: k } if (f, k) == (found, known)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn another_programs_tables_are_left_as_they_are() {
    let database = Database::empty().await;
    let sql = "CREATE TABLE todos (id integer)";
    database.shell().await.batch_execute(sql).await.unwrap();
    let refused = migrate(&database.address()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Foreign(_)), "{refused}");
}

#[tokio::test]
async fn another_number_of_partitions_is_refused() {
    let database = Database::new().await;
    let mut store = database.store(4).await;
    store.apply(&mut creates(3, 0, 1)).await.unwrap();
    for wrong in [3, 6] {
        let error = refused(database.options(wrong)).await;
        let OpenError::Partitions { found, configured } = error else {
            panic!("{error}");
        };
        assert_eq!((found, configured), (4, wrong));
    }
    let stored = store.positions().await.unwrap();
    let offsets: Vec<u64> = stored.iter().map(|one| one.next_offset).collect();
    assert_eq!(offsets, [0, 0, 0, 1]);
    assert_eq!(stored[3].last, creates(3, 0, 1).last.first().copied());
}

#[tokio::test]
async fn missing_rights_are_named() {
    let database = Database::new().await;
    let shell = database.shell().await;
    let sql = "REVOKE SELECT ON outcomes FROM current_user";
    shell.batch_execute(sql).await.unwrap();
    let error = refused(database.options(1)).await;
    assert!(
        matches!(&error, OpenError::Failed(text) if text.contains("SELECT on outcomes")),
        "{error}"
    );
}

#[tokio::test]
async fn another_encoding_is_refused() {
    let mut database = Database::empty().await;
    let name = format!("{}_latin", database.url.rsplit_once('/').unwrap().1);
    let sql = format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    let shell = database.shell().await;
    shell.batch_execute(&sql).await.unwrap();
    database.url.push_str("_latin");
    migrate(&database.address()).await.unwrap();
    let text = refused(database.options(1)).await.to_string();
    let sql = format!("DROP DATABASE {name} WITH (FORCE)");
    shell.batch_execute(&sql).await.unwrap();
    assert!(text.contains("LATIN1"), "{text}");
}

#[tokio::test]
async fn what_an_operator_has_to_mend_is_told_apart_from_what_passes() {
    let database = Database::new().await;
    let with = |url: String| Options {
        address: url.parse().unwrap(),
        ..database.options(1)
    };
    let (scheme, rest) = database.url.split_once("://").unwrap();
    let (credentials, rest) = rest.split_once('@').unwrap();
    let (user, _) = credentials.split_once(':').unwrap();
    for url in [
        format!("{scheme}://{user}:hunter2@{rest}"),
        format!("{scheme}://nobody_known:hunter2@{rest}"),
        format!("{scheme}://{credentials}@{rest}_not"),
    ] {
        let error = refused(with(url)).await;
        assert!(matches!(error, OpenError::Failed(_)), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let (_, path) = rest.split_once('/').unwrap();
    for host in ["127.0.0.1:1", "no-such-host.invalid"] {
        let error = refused(with(format!("{scheme}://{credentials}@{host}/{path}"))).await;
        assert!(matches!(error, OpenError::Unreachable(_)), "{error}");
    }
}

#[test]
fn an_address_that_cannot_work_says_why_and_not_the_password() {
    for (text, why) in [
        ("", "postgres://"),
        ("mysql://u:hunter2@h/d", "postgres://"),
        ("host=h user=u password=hunter2", "postgres://"),
        ("postgres://u:hunter2@/d", "no host"),
        ("postgres://u:hunter2@h:port/d", "port"),
        ("postgres://u:hunter2?x@h/d?sslmode=require", "sslmode"),
        ("postgres://u:hunter2@h/d?sslrootcert=system", "sslrootcert"),
        ("postgres://u:hunter2@h/d?hunter2=1", "not a URL"),
        (
            "postgres://u:hunter2@h/d?connect_timeout=x",
            "connect_timeout",
        ),
        ("postgres://u:hunter2@h/d?sslmode=require", "sslmode"),
        ("postgres://u:hunter2@h/d?sslmode=verify-full", "sslmode"),
    ] {
        let error = text.parse::<Address>().unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    for text in [
        "postgresql://u@h/d",
        "postgres://u:hunter2@h1:1,h2:2/d?sslmode=prefer",
        "postgres://u:hunter2@%2Fvar%2Frun/d?sslmode=disable&application_name=x",
    ] {
        let address: Address = text.parse().unwrap();
        assert!(!format!("{address:?}").contains("hunter2"));
    }
}
