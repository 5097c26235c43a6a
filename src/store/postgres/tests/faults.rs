//! What the server refuses: a command's fault, or nobody's.

use std::time::Duration;

use super::database::short;
use super::{Database, at, create, creates};
use crate::domain::{Action, Batch, Outcome, Payload};
use crate::store::postgres::{self, Store};
use crate::store::{ApplyError, Known};

/// Has the server raise an error on the todo 1, as `code`, from now on.
async fn raise(database: &Database, code: &str) {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION raise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF new.title = 'todo 1' THEN
                RAISE EXCEPTION 'raised' USING ERRCODE = '{code}';
            END IF;
            RETURN new;
        END $$;
        CREATE OR REPLACE TRIGGER raise BEFORE INSERT ON todos
        FOR EACH ROW EXECUTE FUNCTION raise()"
    );
    database.shell().await.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn what_is_a_commands_fault_makes_it_a_dead_letter() {
    for code in ["22000", "22P05", "23514", "23505", "54000"] {
        let database = Database::new().await;
        let mut store = database.store(1).await;
        raise(&database, code).await;
        let applied = store.apply(&mut creates(0, 0, 9)).await.unwrap();
        let outcomes = &applied[0].outcomes;
        assert_eq!(outcomes.len(), 1, "{code}");
        assert_eq!(outcomes[0].position, at(0, 1));
        let Outcome::Dead(reason) = &outcomes[0].outcome else {
            panic!("{outcomes:?}");
        };
        assert!(reason.contains("raised") && reason.contains(code));
        assert_eq!(applied[0].changes.len(), 8);
        assert_eq!(database.count("todos").await, 8);
        assert_eq!(database.count("dead_letters").await, 1);
    }
}

#[tokio::test]
async fn what_is_nobodys_fault_applies_nothing_and_passes() {
    let database = Database::new().await;
    let mut store = database.store(1).await;
    // A full disk, too little memory, a missing right, a deadlock, a statement that took too long,
    // a lock that took too long, a read-only server, a missing table, a bug, an exception.
    for code in [
        "53100", "53200", "42501", "40P01", "57014", "55P03", "25006", "42P01", "XX000", "P0001",
        "54001",
    ] {
        raise(&database, code).await;
        let mut batch = creates(0, 0, 9);
        let applied = store.apply(&mut batch).await;
        assert!(
            matches!(&applied, Err(ApplyError::NotApplied(reason)) if reason.contains(code)),
            "{code}: {applied:?}"
        );
        assert_eq!(batch, creates(0, 0, 9), "{code}");
    }
    for table in ["todos", "outcomes", "dead_letters", "outbox"] {
        assert_eq!(database.count(table).await, 0, "{table}");
    }
    assert_eq!(store.positions().await.unwrap()[0].next_offset, 0);
    let sql = "DROP TRIGGER raise ON todos";
    database.shell().await.batch_execute(sql).await.unwrap();
    store.apply(&mut creates(0, 0, 9)).await.unwrap();
}

#[tokio::test]
async fn a_revoked_right_makes_no_dead_letters() {
    let database = Database::new().await;
    let mut store = database.store(1).await;
    let shell = database.shell().await;
    for table in ["todos", "outbox"] {
        let sql = format!("REVOKE INSERT ON {table} FROM current_user");
        shell.batch_execute(&sql).await.unwrap();
        let applied = store.apply(&mut creates(0, 0, 9)).await;
        assert!(
            matches!(&applied, Err(ApplyError::NotApplied(reason)) if reason.contains("42501")),
            "{applied:?}"
        );
        let sql = format!("GRANT INSERT ON {table} TO current_user");
        shell.batch_execute(&sql).await.unwrap();
    }
    assert_eq!(database.count("dead_letters").await, 0);
    store.apply(&mut creates(0, 0, 9)).await.unwrap();
}

#[tokio::test]
async fn texts_that_postgres_does_not_take_become_dead_letters() {
    let database = Database::new().await;
    let mut store = database.store(1).await;
    let mut batch = creates(0, 0, 6);
    let mut title = create(0, 1);
    if let Action::Create { title, .. } = &mut title.action {
        title.push('\0');
    }
    batch.records[1].payload = Payload::Command(title);
    let mut user = create(0, 2);
    user.user = "nul\0".into();
    batch.records[2].payload = Payload::Command(user.clone());
    user.action = Action::ClaimGiftCode { code: "A".into() };
    batch.records[3].payload = Payload::Command(user);
    batch.records[4].payload = Payload::Poison {
        user: "\0".into(),
        bytes: vec![0; 9],
        reason: "what\0ever".into(),
    };
    let applied = store.apply(&mut batch).await.unwrap();
    let dead: Vec<u64> = applied[0]
        .outcomes
        .iter()
        .map(|one| one.position.offset)
        .collect();
    assert_eq!(dead, [1, 2, 3, 4]);
    assert_eq!(database.count("todos").await, 2);
    let letters = postgres::DeadLetters::open(&database.address())
        .await
        .unwrap();
    let listed = letters.list(Some(at(0, 2)), 10).await.unwrap();
    let users: Vec<&str> = listed.iter().map(|one| one.user.as_str()).collect();
    assert_eq!(users, ["nul\u{fffd}", "\u{fffd}"]);
    assert_eq!(listed[1].reason, "what\u{fffd}ever");
    assert_eq!(letters.list(None, 1).await.unwrap()[0].position, at(0, 1));
    let payload = letters.one(at(0, 4)).await.unwrap().unwrap().payload;
    assert_eq!(payload, [0; 9]);
    assert_eq!(letters.one(at(0, 5)).await, Ok(None));
    let found = store.reader().find(at(0, 4)).await.unwrap();
    assert!(matches!(found, Known::Exceptional(_)));
}

/// The batch of two partitions, from these offsets.
fn both(first: u64, second: u64) -> Batch {
    let (mut both, second) = (creates(0, first, first + 2), creates(1, second, second + 2));
    both.ranges.extend(second.ranges);
    both.records.extend(second.records);
    both.last.extend(second.last);
    both
}

#[tokio::test]
async fn of_two_workers_one_finds_the_position_moved() {
    let database = Database::new().await;
    let mut one = database.store(2).await;
    let mut other = database.store(2).await;
    for round in 0..10 {
        let (mut batch, mut same) = (both(round * 2, round * 2), both(round * 2, round * 2));
        same.ranges.reverse();
        let (ours, theirs) = (one.apply(&mut batch), other.apply(&mut same));
        let raced = futures_util::future::join(Box::pin(ours), Box::pin(theirs));
        let moved = Err(ApplyError::Moved(vec![(round + 1) * 2; 2]));
        match raced.await {
            (Ok(_), refused) | (refused, Ok(_)) => assert_eq!(refused, moved),
            neither => panic!("{neither:?}"),
        }
    }
    assert_eq!(database.count("todos").await, 40);
    // One of two ranges that stands elsewhere is enough, and the other does not move.
    let refused = one.apply(&mut both(20, 18)).await;
    assert_eq!(refused, Err(ApplyError::Moved(vec![20, 20])));
}

#[tokio::test]
async fn a_held_lock_applies_nothing_and_passes() {
    let database = Database::new().await;
    let options = postgres::Options {
        limits: short(),
        ..database.options(1)
    };
    let mut store = Store::open(options).await.unwrap();
    let shell = database.shell().await;
    let lock = "BEGIN; SELECT * FROM positions FOR UPDATE";
    shell.batch_execute(lock).await.unwrap();
    let waited = store.apply(&mut creates(0, 0, 1)).await;
    assert!(
        matches!(waited, Err(ApplyError::NotApplied(_))),
        "{waited:?}"
    );
    shell.batch_execute("ROLLBACK").await.unwrap();
    store.apply(&mut creates(0, 0, 1)).await.unwrap();
    assert_eq!(
        store.positions().await.unwrap()[0].last,
        creates(0, 0, 1).last.first().copied()
    );
}

#[tokio::test]
async fn an_apply_that_is_dropped_leaves_no_transaction_open() {
    let database = Database::new().await;
    let mut store = database.store(1).await;
    let shell = database.shell().await;
    let lock = "BEGIN; SELECT * FROM positions FOR UPDATE";
    shell.batch_execute(lock).await.unwrap();
    let mut batch = creates(0, 0, 1);
    let dropped = tokio::time::timeout(Duration::from_millis(50), store.apply(&mut batch)).await;
    assert!(dropped.is_err());
    shell.batch_execute("ROLLBACK").await.unwrap();
    store.apply(&mut creates(0, 0, 1)).await.unwrap();
    assert_eq!(database.count("todos").await, 1);
}
