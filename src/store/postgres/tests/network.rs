//! What the network loses, the store does not guess.

use crate::store::postgres::{Reader, Store};
use crate::store::{ApplyError, Known, OpenError, StoreError};

use super::proxy::{Network, Proxy};
use super::{Database, at, creates};

async fn next_offset(store: &mut Store) -> u64 {
    store.positions().await.unwrap()[0].next_offset
}

#[tokio::test]
async fn a_lost_answer_to_commit_is_unknown_and_the_positions_tell() {
    let database = Database::new().await;
    let proxy = Proxy::before(&database).await;
    let mut store = Store::open(proxy.options(&database)).await.unwrap();
    let mut next = 0;
    for (network, is_applied) in [
        (Network::CutsBeforeCommit, false),
        (Network::CutsAfterCommit, true),
        (Network::HangsAfterCommit, true),
    ] {
        proxy.becomes(network);
        let applied = store.apply(&mut creates(0, next, next + 3)).await;
        assert!(
            matches!(applied, Err(ApplyError::Unknown(_))),
            "{network:?}: {applied:?}"
        );
        proxy.becomes(Network::Works);
        next += if is_applied { 3 } else { 0 };
        assert_eq!(next_offset(&mut store).await, next, "{network:?}");
        store.apply(&mut creates(0, next, next + 3)).await.unwrap();
        next += 3;
        assert_eq!(database.count("todos").await, next.cast_signed());
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_an_error_and_passes() {
    let database = Database::new().await;
    let proxy = Proxy::before(&database).await;
    let mut store = Store::open(proxy.options(&database)).await.unwrap();
    let reader = Reader::open(&proxy.options(&database)).await.unwrap();
    assert_eq!(reader.find(at(0, 0)).await, Ok(Known::Ahead));

    proxy.becomes(Network::Hangs);
    let applied = store.apply(&mut creates(0, 0, 3)).await;
    assert!(
        matches!(applied, Err(ApplyError::NotApplied(_))),
        "{applied:?}"
    );
    let positions = store.positions().await;
    assert!(
        matches!(positions, Err(StoreError::Again(_))),
        "{positions:?}"
    );
    let found = reader.find(at(0, 0)).await;
    assert!(matches!(found, Err(StoreError::Again(_))), "{found:?}");
    let loaded = reader.load(&mut |_| {}).await;
    assert!(matches!(loaded, Err(StoreError::Again(_))), "{loaded:?}");
    let opened = Store::open(proxy.options(&database)).await.err();
    assert!(
        matches!(opened, Some(OpenError::Unreachable(_))),
        "{opened:?}"
    );

    proxy.becomes(Network::Works);
    store.apply(&mut creates(0, 0, 3)).await.unwrap();
    assert_eq!(reader.load(&mut |_| {}).await, Ok(vec![3]));
}

#[tokio::test]
async fn a_session_that_was_ended_is_made_anew() {
    let database = Database::new().await;
    let mut store = database.store(1).await;
    let reader = Reader::open(&database.options(1)).await.unwrap();
    let mut next = 0;
    for _ in 0..5 {
        assert_eq!(reader.find(at(0, next)).await, Ok(Known::Ahead));
        database.end_sessions().await;
        // The end may be seen before something is sent, or in the answer; not later.
        let first = store.apply(&mut creates(0, next, next + 1)).await;
        match first {
            Ok(_) => {}
            Err(ApplyError::NotApplied(_)) => {
                store.apply(&mut creates(0, next, next + 1)).await.unwrap();
            }
            Err(other) => panic!("{other:?}"),
        }
        next += 1;
        assert_eq!(next_offset(&mut store).await, next);
    }
    assert_eq!(database.count("todos").await, 5);
}

#[tokio::test]
async fn a_worker_that_was_stopped_in_a_transaction_holds_up_no_other_for_long() {
    let database = Database::new().await;
    let proxy = Proxy::before(&database).await;
    let mut stopped = Store::open(proxy.options(&database)).await.unwrap();
    let mut other = database.store(1).await;
    proxy.becomes(Network::CutsBeforeCommit);
    let unknown = stopped.apply(&mut creates(0, 0, 3)).await;
    assert!(matches!(unknown, Err(ApplyError::Unknown(_))));
    // Whatever the server makes of the lost connection, the locks are free soon.
    other.apply(&mut creates(0, 0, 3)).await.unwrap();
}
