//! How many commands a batch waits for, found out by trying.
//!
//! A commit costs about the same whether it is of one command or of ten. Where many clients write,
//! now and then, a batch that waits for the next command saves a commit; where one client writes and
//! waits for its answer, a batch that waits gains nothing and halves that client's rate. The rate of
//! commands does not tell the two apart, and a try does. So a batch waits for as many commands as the
//! one before it had, and some wait for more: each one while that brings more, and ever fewer while
//! it does not.
//!
//! `PostgreSQL`'s `commit_delay` and `MySQL`'s `binlog_group_commit_sync_delay` wait for a fixed time
//! instead, and are off by default.

use std::time::Duration;

/// Time that the commands of a batch wait for others, all in all. So few wait for long, or many
/// hardly; of commands that come evenly, it collects the square root of twice as many as come in it.
const WAITED_MAX: Duration = Duration::from_millis(8);
/// Time that a command waits for others, at most.
const WAIT_MAX: Duration = Duration::from_millis(4);
/// No timer is finer.
const WAIT_MIN: Duration = Duration::from_millis(1);
/// Batches from one try to the next, while trying brings nothing.
const PAUSE_MAX: u32 = 1_024;
/// The same, before the first.
const PAUSE: u32 = 64;

/// Of the batches of one log.
pub(super) struct Gather {
    /// Commands of the batch before.
    before: usize,
    /// Batches until one waits for more than these, and how many that were.
    pause_left: u32,
    pause: u32,
}

impl Gather {
    pub fn new() -> Self {
        Self {
            before: 1,
            pause_left: PAUSE,
            pause: PAUSE,
        }
    }

    pub fn begin(&self) -> Waiting {
        let is_try = self.pause_left == 0;
        Waiting {
            enough: if is_try { usize::MAX } else { self.before },
            waited: Duration::ZERO,
            waited_by_first: Duration::ZERO,
        }
    }

    /// The batch has so many commands.
    pub fn end(&mut self, commands: usize) {
        if self.pause_left > 0 {
            self.pause_left -= 1;
        } else {
            let helped = commands > self.before;
            self.pause = if helped {
                0
            } else {
                (self.pause * 2).clamp(1, PAUSE_MAX)
            };
            self.pause_left = self.pause;
        }
        self.before = commands;
    }
}

/// Of one batch.
pub(super) struct Waiting {
    /// Commands with which it goes.
    enough: usize,
    /// By all of them.
    waited: Duration,
    waited_by_first: Duration,
}

impl Waiting {
    /// How long a batch of so many commands waits for the next one, if it does.
    pub fn time_left(&self, commands: usize) -> Option<Duration> {
        let each = u32::try_from(commands).unwrap_or(u32::MAX);
        let left = WAITED_MAX.saturating_sub(self.waited) / each.max(1);
        let left = left.min(WAIT_MAX.saturating_sub(self.waited_by_first));
        (commands < self.enough && left >= WAIT_MIN).then_some(left)
    }

    /// So many commands have waited for so long.
    pub fn waited(&mut self, commands: usize, time: Duration) {
        self.waited += time.saturating_mul(u32::try_from(commands).unwrap_or(u32::MAX));
        self.waited_by_first += time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of a client that sends each command when the one before was answered.
    fn alone(gather: &mut Gather, batches: u32) -> Duration {
        let mut waited = Duration::ZERO;
        for _ in 0..batches {
            let waiting = gather.begin();
            waited += waiting.time_left(1).unwrap_or_default();
            gather.end(1);
        }
        waited
    }

    /// A batch to which a command comes each `gap`.
    fn batch(gather: &mut Gather, gap: Duration) -> (usize, Duration) {
        let mut waiting = gather.begin();
        let mut commands = 1;
        while let Some(left) = waiting.time_left(commands) {
            waiting.waited(commands, left.min(gap));
            if left < gap {
                break;
            }
            commands += 1;
        }
        gather.end(commands);
        (commands, waiting.waited)
    }

    #[test]
    fn who_writes_alone_hardly_ever_waits() {
        let mut gather = Gather::new();
        assert_eq!(alone(&mut gather, PAUSE), Duration::ZERO);
        // 64, 128, … 1,024 batches lie between.
        let tries = 1 + 4 + 8;
        let batches = 1 + 64 + 128 + 256 + 512 + 8 * (1 + PAUSE_MAX);
        let waited = alone(&mut gather, batches);
        assert!(waited <= WAIT_MAX * (tries + 1), "{waited:?}");
        assert!(waited >= WAIT_MAX * (tries - 1), "{waited:?}");
    }

    #[test]
    fn commands_of_many_are_together() {
        let mut gather = Gather::new();
        alone(&mut gather, PAUSE);
        let (mut all, mut waited) = (0, Duration::ZERO);
        for _ in 0..100 {
            let (commands, by_these) = batch(&mut gather, Duration::from_millis(1));
            assert!(by_these <= WAITED_MAX, "{by_these:?}");
            all += commands;
            waited += by_these;
        }
        assert!(all >= 300, "{all} in 100 batches");
    }

    #[test]
    fn when_the_many_have_gone_it_is_over_with_the_next_batch() {
        let mut gather = Gather::new();
        alone(&mut gather, PAUSE);
        assert!(batch(&mut gather, Duration::from_micros(100)).0 > 1);
        alone(&mut gather, 2);
        let waited = alone(&mut gather, 100);
        assert!(
            waited <= WAIT_MAX * 7,
            "a try each 1, 2, 4, … 64: {waited:?}"
        );
    }

    #[test]
    fn a_batch_of_many_waits_for_nobody() {
        let waiting = Waiting {
            enough: usize::MAX,
            waited: Duration::ZERO,
            waited_by_first: Duration::ZERO,
        };
        assert_eq!(waiting.time_left(1), Some(WAIT_MAX));
        assert_eq!(waiting.time_left(4), Some(Duration::from_millis(2)));
        assert_eq!(waiting.time_left(9), None);
    }
}
