//! How long the worker waits before it tries again what failed, and when others shall try.

use std::time::Duration;

use rand::RngExt;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock::Stopwatch;

/// The first wait: most troubles are a moment's (a deadlock, a restarted connection).
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// The longest wait: a store that is back is found within a second.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Time without a commit after which the partitions are left to others: they may reach a store
/// that this worker does not.
const ENOUGH: Duration = Duration::from_secs(30);

/// What came of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    Again,
    /// It has gone on for so long that others shall try.
    Enough,
    /// The worker shall end.
    Stopped,
}

/// The wait doubles from try to try; [`Patience::relax`] begins anew.
pub struct Patience {
    wait: Duration,
    /// Runs since the first failure after the last success.
    failing: Option<Stopwatch>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            wait: FIRST_WAIT,
            failing: None,
        }
    }
}

impl Patience {
    /// Something went well.
    pub fn relax(&mut self) {
        *self = Self::default();
    }

    /// Others try already; the waits stay as long as they have become.
    pub fn relax_deadline(&mut self) {
        self.failing = None;
    }

    /// Waits for about the current wait, between half of it and all: workers that failed together
    /// do not come back together.
    pub async fn wait(&mut self, stop: &CancellationToken) -> Waited {
        let failing = *self.failing.get_or_insert_with(Stopwatch::start);
        if failing.elapsed() >= ENOUGH {
            return Waited::Enough;
        }
        let longest = self.wait;
        self.wait = (longest * 2).min(LONGEST_WAIT);
        let wait = rand::rng().random_range(longest / 2..=longest);
        tokio::select! {
            () = sleep(wait) => Waited::Again,
            () = stop.cancelled() => Waited::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_to_a_second_and_end_after_half_a_minute() {
        let stop = CancellationToken::new();
        let mut patience = Patience::default();
        let all = Stopwatch::start();
        let mut waits = Vec::new();
        loop {
            let one = Stopwatch::start();
            match patience.wait(&stop).await {
                Waited::Again => waits.push(one.elapsed()),
                Waited::Enough => break,
                Waited::Stopped => panic!("nobody stopped it"),
            }
        }
        assert!((ENOUGH..ENOUGH + LONGEST_WAIT * 2).contains(&all.elapsed()));
        assert!(waits[0] <= FIRST_WAIT + Duration::from_millis(1));
        assert!(waits.iter().all(|wait| *wait <= LONGEST_WAIT * 11 / 10));
        patience.relax();
        assert_eq!(patience.wait(&stop).await, Waited::Again);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait() {
        let stop = CancellationToken::new();
        stop.cancel();
        let waited = Patience::default().wait(&stop).await;
        assert_eq!(waited, Waited::Stopped);
    }
}
