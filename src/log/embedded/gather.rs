//! How many commands a batch waits for, found out by trying.
//!
//! A commit costs about the same whether it is of one command or of ten. Where many clients write,
//! now and then, a batch that waits for the next command saves a commit; where one client writes and
//! waits for its answer, a batch that waits gains nothing and halves that client's rate. The rate of
//! commands does not tell the two apart, and a try does. So while waiting brings commands, a batch
//! waits for as many as the one before it had, and some try for more: each one while that brings
//! more, and ever fewer while it does not. Once a wait has brought nothing, none waits until a try
//! has brought something again.
//!
//! `PostgreSQL`'s `commit_delay` and `MySQL`'s `binlog_group_commit_sync_delay` wait for a fixed time
//! instead, and are off by default.

use std::time::Duration;

/// Time that the commands of a batch wait for others, all in all. So few wait for long, or many
/// hardly; of commands that come evenly, it collects the square root of twice as many as come in it.
/// Of a thousand a second, five are in a commit; with half the time it is three and a half, and the
/// median acknowledgement comes half a millisecond earlier.
const WAITED_MAX: Duration = Duration::from_millis(16);
/// Time that a command waits for others, at most, and a timer's inexactness.
const WAIT_MAX: Duration = Duration::from_millis(5);
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
    /// Whether waiting has brought commands lately.
    pays: bool,
    /// Batches until the next try, and from that to the one after it if it brings nothing.
    pause_left: u32,
    pause: u32,
}

impl Gather {
    pub fn new() -> Self {
        Self {
            before: 1,
            pays: false,
            pause_left: PAUSE,
            pause: PAUSE,
        }
    }

    pub fn begin(&self) -> Waiting {
        Waiting {
            enough: match (self.pause_left, self.pays) {
                (0, _) => usize::MAX,
                (_, true) => self.before,
                (_, false) => 0,
            },
            waited: Duration::ZERO,
            waited_by_first: Duration::ZERO,
        }
    }

    /// Of a batch that had `first` commands when it began to wait, if it did, and `last` in the end.
    pub fn end(&mut self, waiting: &Waiting, first: usize, last: usize) {
        let has_waited = !waiting.waited.is_zero();
        let brought_some = last > first;
        if self.pause_left == 0 {
            let is_more = brought_some && last > self.before;
            self.pause = if is_more { 0 } else { self.longer() };
            self.pause_left = self.pause;
        } else {
            self.pause_left -= 1;
            if has_waited && !brought_some {
                self.pause = self.longer();
                self.pause_left = self.pause;
            }
        }
        if has_waited {
            self.pays = brought_some;
        }
        self.before = last;
    }

    fn longer(&self) -> u32 {
        (self.pause * 2).clamp(1, PAUSE_MAX)
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

    /// A batch that has `first` commands, to which `more` come at once and then none; how long it
    /// waited.
    fn batch(gather: &mut Gather, first: usize, more: usize) -> Duration {
        let mut waiting = gather.begin();
        let (mut commands, mut waited) = (first, Duration::ZERO);
        while let Some(left) = waiting.time_left(commands) {
            if commands < first + more {
                waiting.waited(commands, Duration::from_micros(1));
                commands += 1;
            } else {
                waiting.waited(commands, left);
                waited += left;
            }
        }
        gather.end(&waiting, first, commands);
        waited
    }

    /// Batches of a client that sends each command when the one before was answered.
    fn alone(gather: &mut Gather, batches: u32) -> Duration {
        (0..batches).map(|_| batch(gather, 1, 0)).sum()
    }

    /// A batch to which a command comes each `gap`; how many there were and how long they waited.
    fn evenly(gather: &mut Gather, gap: Duration) -> (usize, Duration) {
        let mut waiting = gather.begin();
        let mut commands = 1;
        while let Some(left) = waiting.time_left(commands) {
            waiting.waited(commands, left.min(gap));
            commands += usize::from(left >= gap);
        }
        gather.end(&waiting, 1, commands);
        (commands, waiting.waited)
    }

    #[test]
    fn who_writes_alone_hardly_ever_waits() {
        let mut gather = Gather::new();
        assert_eq!(alone(&mut gather, PAUSE), Duration::ZERO);
        // 128, 256, … 1,024 batches lie between two tries.
        let batches = 1 + 128 + 1 + 256 + 1 + 512 + 8 * (1 + PAUSE_MAX);
        let waited = alone(&mut gather, batches);
        assert_eq!(waited, WAIT_MAX * (3 + 8));
    }

    #[test]
    fn commands_of_many_are_together() {
        let mut gather = Gather::new();
        alone(&mut gather, PAUSE);
        let (mut all, gap) = (0, Duration::from_millis(1));
        for _ in 0..100 {
            let (commands, waited) = evenly(&mut gather, gap);
            assert!(waited <= WAITED_MAX, "{waited:?}");
            all += commands;
        }
        assert!(all >= 500, "{all} in 100 batches");
    }

    /// So many clients, each of which waits for its answer, are together and wait for nobody else.
    #[test]
    fn of_few_that_wait_for_their_answers_none_waits_long() {
        let mut gather = Gather::new();
        alone(&mut gather, PAUSE);
        let waited: Duration = (0..1_000).map(|_| batch(&mut gather, 1, 4)).sum();
        assert_eq!(gather.before, 5);
        assert!(
            waited <= WAITED_MAX / 5 * 12,
            "a try each 1, 2, 4, …: {waited:?}"
        );
    }

    #[test]
    fn a_burst_whose_end_nobody_follows_does_not_wait_for_ever() {
        let mut gather = Gather::new();
        alone(&mut gather, PAUSE);
        let burst = |gather: &mut Gather| batch(gather, 8, 0) + batch(gather, 2, 0);
        let waited: Duration = (0..2_000).map(|_| burst(&mut gather)).sum();
        assert!(waited <= WAIT_MAX * 12, "{waited:?}");
    }

    #[test]
    fn when_the_many_have_gone_it_is_over_with_the_next_batch() {
        let mut gather = Gather::new();
        alone(&mut gather, PAUSE);
        assert!(evenly(&mut gather, Duration::from_micros(100)).0 > 1);
        assert_eq!(alone(&mut gather, 1), WAIT_MAX);
        let waited = alone(&mut gather, 127);
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
        assert_eq!(waiting.time_left(4), Some(Duration::from_millis(4)));
        assert_eq!(waiting.time_left(17), None);
    }
}
