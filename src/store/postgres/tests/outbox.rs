//! What is handed on through the outbox, and what servers load beside it.

use super::{Database, at, creates};
use crate::domain::{Range, Todo};
use crate::store::Known;
use crate::store::postgres::Reader;

fn range(partition: u16, from: u64, to: u64) -> Range {
    Range {
        partition,
        from,
        to,
    }
}

#[tokio::test]
async fn a_row_stays_in_the_outbox_until_the_feed_has_it() {
    let database = Database::new().await;
    let mut store = database.store(3).await;
    let first = store.apply(&mut creates(0, 0, 2)).await.unwrap();
    let other = store.apply(&mut creates(2, 0, 5)).await.unwrap();
    let second = store.apply(&mut creates(0, 2, 3)).await.unwrap();
    drop(store);

    // Who comes after finds it, in order, and of its own partitions only.
    let mut store = database.store(3).await;
    let all = [first.clone(), second.clone(), other.clone()].concat();
    assert_eq!(store.unpublished(&[2, 1, 0]).await.unwrap(), all);
    assert_eq!(store.unpublished(&[1]).await.unwrap(), []);
    assert_eq!(store.unpublished(&[2]).await.unwrap(), other);

    store.published(&[range(0, 0, 2)]);
    store.settle().await.unwrap();
    assert_eq!(database.outbox().await, [range(0, 2, 3), range(2, 0, 5)]);
    store.published(&[range(2, 0, 5)]);
    assert_eq!(store.unpublished(&[0, 1, 2]).await.unwrap(), second);
    // By the next transaction, if that commits.
    store.published(&[range(0, 2, 3)]);
    store.apply(&mut creates(1, 7, 8)).await.unwrap_err();
    assert_eq!(database.outbox().await, [range(0, 2, 3)]);
    store.apply(&mut creates(1, 0, 1)).await.unwrap();
    assert_eq!(database.outbox().await, [range(1, 0, 1)]);
    // Again and again makes no difference.
    store.published(&[range(0, 2, 3), range(1, 0, 1)]);
    store.settle().await.unwrap();
    store.settle().await.unwrap();
    assert_eq!(database.outbox().await, []);
}

#[tokio::test]
async fn what_another_version_left_in_the_outbox_holds_nothing_up() {
    let database = Database::new().await;
    let mut store = database.store(2).await;
    let sound = store.apply(&mut creates(1, 0, 3)).await.unwrap();
    let shell = database.shell().await;
    let older = zstd::bulk::compress(br#"{"v":1,"applied":{}}"#, 1).unwrap();
    for (from, payload) in [(0, &older[..]), (2, &b"not even compressed"[..])] {
        store.apply(&mut creates(0, from, from + 2)).await.unwrap();
        let sql = "UPDATE outbox SET payload = $1 WHERE partition = 0";
        assert_eq!(shell.execute(sql, &[&payload]).await.unwrap(), 1);
        assert_eq!(store.unpublished(&[0]).await.unwrap(), []);
        assert_eq!(store.unpublished(&[0, 1]).await.unwrap(), sound);
        assert_eq!(database.outbox().await, [range(1, 0, 3)]);
    }
}

#[tokio::test]
async fn a_range_without_changes_is_handed_on_too() {
    let database = Database::new().await;
    let mut store = database.store(1).await;
    let mut empty = creates(0, 0, 4);
    empty.records.clear();
    let applied = store.apply(&mut empty).await.unwrap();
    assert_eq!(applied[0].range, range(0, 0, 4));
    assert_eq!(store.unpublished(&[0]).await.unwrap(), applied);
}

#[tokio::test]
async fn a_load_is_one_moment_oldest_first_however_much_is_written() {
    let database = Database::new().await;
    let mut store = database.store(1).await;
    let reader = Reader::open(&database.options(1)).await.unwrap();
    let writing = async {
        for nth in 0..60 {
            let (from, to) = (nth * 50, (nth + 1) * 50);
            store.apply(&mut creates(0, from, to)).await.unwrap();
        }
    };
    let reading = async {
        let mut loads = 0;
        loop {
            let mut times = vec![];
            let mut sink = |todo: Todo| times.push(todo.created_at.as_micros());
            let [next_offset] = reader.load(&mut sink).await.unwrap()[..] else {
                panic!("one partition");
            };
            let expected: Vec<i64> = (0..next_offset.cast_signed()).collect();
            assert_eq!(times, expected);
            assert_eq!(next_offset % 50, 0);
            loads += 1;
            if next_offset == 3000 {
                return loads;
            }
        }
    };
    let ((), loads) = futures_util::future::join(Box::pin(writing), reading).await;
    assert!(loads > 1);
}

/// Serving cores end one by one, and with them what runs on their runtimes.
#[test]
fn a_reader_outlives_the_runtime_that_used_it() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let main = runtime();
    let database = main.block_on(Database::new());
    let reader = runtime()
        .block_on(Reader::open(&database.options(2)))
        .unwrap();
    for _ in 0..3 {
        let core = runtime();
        let found = core.block_on(reader.find(at(1, 0)));
        assert_eq!(found, Ok(Known::Ahead), "no worker was there yet");
        assert_eq!(core.block_on(reader.positions()), Ok(vec![0, 0]));
    }
    assert_eq!(
        main.block_on(reader.find(at(2, 0))),
        Ok(Known::Forgotten),
        "no such partition"
    );
}
