//! A server of a fleet: follows the feed, and loads anew what the feed no longer leads to.
//!
//! First the feed's end, then positions and todos in one consistent read, then the feed from that
//! end: what was applied during the read comes once more, and is dropped. What is served stands
//! still until the new snapshot has got at least as far, so no reader goes back in time.
//!
//! The feed may also be silent when it should not be. So the store's positions are looked at
//! every second; a mark that has not come within a second to where the store was is a reload.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::refresh::{self, Halt, Renewed};
use super::{Builder, Published, Snapshot};
use crate::clock::Stopwatch;
use crate::feed::Subscriber;
use crate::marks::Marks;
use crate::store::{Reader, StoreError};

/// How often the store is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The wait before a second reload; it doubles with each. The first one waits for nothing.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait: a reload reads every todo, and a fleet may do so at once.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Time of following without a reload, after which the next one does not wait.
const CALM: Duration = Duration::from_mins(1);

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store has {found} partitions, and {configured} are configured")]
    Partitions { found: usize, configured: usize },
}

/// All todos as the store has them. Partitions that nothing was applied to yet begin at 0.
///
/// # Errors
/// [`LoadError`]
pub async fn load(reader: &Reader, partitions: usize) -> Result<Snapshot, LoadError> {
    let mut builder = Builder::new();
    let positions = reader.load(&mut |todo| builder.push(&todo)).await?;
    Ok(builder.build(padded(positions, partitions)?))
}

/// Serves what was loaded. In this order: who is told that a write is applied finds it.
pub fn show(snapshot: Snapshot, published: &Published, marks: &Marks) {
    let positions = snapshot.positions().to_vec();
    published.publish(snapshot);
    published.bell.ring_loaded();
    marks.jump(&positions);
}

fn padded(mut positions: Vec<u64>, partitions: usize) -> Result<Vec<u64>, LoadError> {
    if positions.len() > partitions {
        return Err(LoadError::Partitions {
            found: positions.len(),
            configured: partitions,
        });
    }
    positions.resize(partitions, 0);
    Ok(positions)
}

/// What the follower did or met, for whoever counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Renewed(Renewed),
    /// A snapshot that was loaded is served; the time is from when it was wanted.
    Reloaded(Duration),
    /// Commands that the store has applied and this server does not serve.
    Lag(u64),
    StoreAnswers,
    StoreFails(String),
}

/// Follows for as long as the process serves.
pub struct Follower<Observe> {
    /// At or before the place from which the published snapshot was loaded.
    pub subscriber: Subscriber,
    pub reader: Reader,
    pub published: Arc<Published>,
    pub marks: Arc<Marks>,
    /// Told of everything.
    pub observe: Observe,
    pub stop: CancellationToken,
}

/// Runs until it is stopped. Belongs on a thread of its own, as [`refresh::run`] does.
///
/// # Errors
/// The feed is closed, which a fleet's never is.
pub async fn run<Observe: Fn(Seen)>(mut follower: Follower<Observe>) -> Result<(), Halt> {
    let mut wait = Duration::ZERO;
    let stop = follower.stop.clone();
    loop {
        tokio::select! {
            halted = follower.follow() => match halted {
                Some(why) => warn!(why, "loading the todos anew"),
                None => return Err(Halt::Lost("it is closed".to_owned())),
            },
            () = sleep(CALM), if !wait.is_zero() => {
                wait = Duration::ZERO;
                continue;
            }
            () = stop.cancelled() => return Ok(()),
        }
        tokio::select! {
            () = follower.reload(&mut wait) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Returns when a mark has not come to where the store was one look earlier.
async fn until_behind(reader: &Reader, marks: &Marks, observe: &impl Fn(Seen)) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Vec<u64> = Vec::new();
    loop {
        look.tick().await;
        let served = marks.positions();
        if before.iter().zip(&served).any(|(store, mark)| mark < store) {
            return;
        }
        match reader.positions().await {
            Ok(positions) => {
                let lags = positions.iter().zip(marks.positions());
                let lags = lags.map(|(store, mark)| store.saturating_sub(mark));
                observe(Seen::Lag(lags.sum()));
                observe(Seen::StoreAnswers);
                before = positions;
            }
            Err(error) => observe(Seen::StoreFails(error.to_string())),
        }
    }
}

impl<Observe: Fn(Seen)> Follower<Observe> {
    /// Until the todos have to be loaded anew, and why; `None` once the feed is closed.
    async fn follow(&mut self) -> Option<String> {
        let observe = &self.observe;
        let count = |renewed| observe(Seen::Renewed(renewed));
        let following = refresh::run(&mut self.subscriber, &self.published, &self.marks, count);
        tokio::select! {
            followed = following => followed.err().map(|halt| halt.to_string()),
            () = until_behind(&self.reader, &self.marks, observe) => {
                Some("the feed has not brought what the store has".to_owned())
            }
        }
    }

    /// Loads until what was loaded can be served; `wait` is that before the next attempt.
    async fn reload(&mut self, wait: &mut Duration) {
        let watch = Stopwatch::start();
        loop {
            sleep(*wait).await;
            *wait = (*wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
            self.subscriber.seek_to_end().await;
            match load(&self.reader, self.marks.positions().len()).await {
                Ok(snapshot) if self.reaches(&snapshot) => {
                    info!(todos = snapshot.len(), took = ?watch.elapsed(), "loaded anew");
                    show(snapshot, &self.published, &self.marks);
                    return (self.observe)(Seen::Reloaded(watch.elapsed()));
                }
                Ok(_) => warn!("the store is behind what is served: loading again later"),
                Err(LoadError::Store(error)) => {
                    (self.observe)(Seen::StoreFails(error.to_string()));
                }
                Err(error) => warn!(%error, "the todos cannot be loaded"),
            }
        }
    }

    fn reaches(&self, snapshot: &Snapshot) -> bool {
        let mut both = snapshot.positions().iter().zip(self.marks.positions());
        both.all(|(loaded, served)| *loaded >= served)
    }
}

#[cfg(test)]
mod tests;
