//! A store that applies, a feed that forgets, and what is served meanwhile.

use std::sync::Mutex;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::domain::{Applied, Position};
use crate::feed::{self, Publisher};
use crate::marks::Passed;
use crate::store::Store;
use crate::store::sqlite::tests::{Directory, creates};

struct Server {
    /// Removed last.
    _directory: Directory,
    store: Store,
    publisher: Publisher,
    published: Arc<Published>,
    marks: Arc<Marks>,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: CancellationToken,
    following: JoinHandle<Result<(), Halt>>,
}

impl Server {
    async fn start() -> Self {
        let directory = Directory::new();
        let store = Store::Sqlite(directory.open().unwrap());
        let (to_feed, from_feed) = feed::embedded::open(&feed::Options::default());
        let snapshot = load(&store.reader(), 1).await.unwrap();
        let marks = Arc::new(Marks::new(snapshot.positions(), 10));
        let published = Published::new(snapshot);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = CancellationToken::new();
        let observe = {
            let seen = Arc::clone(&seen);
            move |one| seen.lock().unwrap().push(one)
        };
        let following = tokio::spawn(run(Follower {
            subscriber: Subscriber::Embedded(from_feed),
            reader: store.reader(),
            published: Arc::clone(&published),
            marks: Arc::clone(&marks),
            observe,
            stop: stop.clone(),
        }));
        Self {
            _directory: directory,
            store,
            publisher: Publisher::Embedded(to_feed),
            published,
            marks,
            seen,
            stop,
            following,
        }
    }

    async fn apply(&mut self, from: u64, to: u64) -> Vec<Applied> {
        self.store.apply(&mut creates(from, to)).await.unwrap()
    }

    async fn apply_and_publish(&mut self, from: u64, to: u64) {
        let applied = self.apply(from, to).await;
        self.publisher.publish(applied).await.unwrap();
    }

    async fn serves(&self, position: u64) {
        let last = Position {
            partition: 0,
            offset: position - 1,
        };
        let _passed: Passed = self.marks.wait(last).await;
        let todos = usize::try_from(position).unwrap();
        assert_eq!(self.published.snapshot().len(), todos);
    }

    fn reloads(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        let is_reload = |one: &&Seen| matches!(one, Seen::Reloaded(_));
        seen.iter().filter(is_reload).count()
    }

    async fn end(self) -> Result<(), Halt> {
        self.stop.cancel();
        self.following.await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_feed_brings_is_served_without_a_reload() {
    let mut server = Server::start().await;
    server.apply_and_publish(0, 5).await;
    server.serves(5).await;
    server.apply_and_publish(5, 7).await;
    server.serves(7).await;
    assert_eq!(server.reloads(), 0);
    assert_eq!(server.end().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_feed_is_a_reload_and_the_feed_leads_on() {
    let mut server = Server::start().await;
    server.apply(0, 5).await;
    server.apply_and_publish(5, 6).await;
    server.serves(6).await;
    assert_eq!(server.reloads(), 1);
    server.apply_and_publish(6, 9).await;
    server.serves(9).await;
    assert_eq!(server.reloads(), 1);
    assert_eq!(server.end().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_the_feed_keeps_to_itself_is_found_in_the_store() {
    let mut server = Server::start().await;
    server.apply(0, 5).await;
    let watch = Stopwatch::start();
    server.serves(5).await;
    assert!(watch.elapsed() <= LOOK_EVERY * 3, "{:?}", watch.elapsed());
    assert!(server.seen.lock().unwrap().contains(&Seen::Lag(5)));
    assert_eq!(server.end().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn reloads_in_a_row_come_ever_more_slowly() {
    let mut server = Server::start().await;
    let mut waits = Vec::new();
    for n in 0..6 {
        server.apply(n, n + 1).await;
        let watch = Stopwatch::start();
        server.serves(n + 1).await;
        waits.push(watch.elapsed());
    }
    assert_eq!(server.reloads(), 6);
    assert!(waits[0] < waits[2] && waits[2] < waits[4], "{waits:?}");
    let longest = LONGEST_WAIT + LOOK_EVERY * 3;
    assert!(waits.iter().all(|wait| *wait < longest), "{waits:?}");
    assert_eq!(server.end().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_is_served_stands_still_while_the_store_is_behind_it() {
    let mut server = Server::start().await;
    let elsewhere = Directory::new();
    let mut before = Store::Sqlite(elsewhere.open().unwrap());
    let applied = before.apply(&mut creates(0, 5)).await.unwrap();
    server.publisher.publish(applied).await.unwrap();
    server.serves(5).await;
    // The feed ran ahead of a store that lost it, and now has a gap.
    before.apply(&mut creates(5, 7)).await.unwrap();
    let beyond = before.apply(&mut creates(7, 8)).await.unwrap();
    server.publisher.publish(beyond).await.unwrap();
    server.apply(0, 3).await;
    let next = Position {
        partition: 0,
        offset: 5,
    };
    let waited = timeout(LONGEST_WAIT * 2, server.marks.wait(next)).await;
    assert!(waited.is_err(), "{waited:?}");
    assert_eq!(
        (server.reloads(), server.published.snapshot().len()),
        (0, 5)
    );
    server.apply(3, 9).await;
    server.serves(9).await;
    assert_eq!(server.end().await, Ok(()));
}

#[tokio::test]
async fn more_partitions_than_configured_are_an_error_and_fewer_begin_at_nothing() {
    assert_eq!(padded(vec![3], 3).unwrap(), [3, 0, 0]);
    assert!(matches!(
        padded(vec![1, 2], 1),
        Err(LoadError::Partitions {
            found: 2,
            configured: 1
        })
    ));
}
