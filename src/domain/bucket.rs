//! The token bucket: how many of a key's requests may pass, and when the next one may.
//!
//! Everything is in whole micro-tokens and microseconds. At a rate of one token a second exactly
//! one micro-token comes in a microsecond, so that refilling is a multiplication: nothing is
//! rounded, and a bucket that is asked often gains and loses nothing against one that is asked
//! seldom. `lua/admit.lua` is the same arithmetic, and a test holds the two together; whoever
//! changes one changes both.
//!
//! The time is an argument: that of one clock per bucket, Redis' or this process's. A clock that
//! steps back is forgiven at once: the step refills nothing, and counting goes on from the new time.
//! A step forward fills the bucket once, and no more than that.

/// Micro-tokens in one token, which is what a request costs.
pub const TOKEN: u64 = 1_000_000;
/// Tokens of a bucket, and tokens a second, at most: products stay below 2^53, up to which the
/// numbers of Lua are exact.
pub const TOKENS_MAX: u32 = 1_000_000_000;

/// What a bucket holds and how fast it refills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Tokens that a full bucket holds: the burst.
    pub capacity: u32,
    /// Tokens a second; 0 never refills.
    pub rate: u32,
}

impl Rule {
    /// The share of one of `servers` equal servers: rounded down, but one token and one a second
    /// at least, since a share that never admits anything is none.
    #[must_use]
    pub fn share(self, servers: u32) -> Self {
        Self {
            capacity: share(self.capacity, servers),
            rate: share(self.rate, servers),
        }
    }

    /// Micro-tokens of a full bucket.
    #[must_use]
    pub fn full(self) -> u64 {
        u64::from(self.capacity) * TOKEN
    }

    /// Milliseconds until a bucket at `level` has a token, `None` where waiting does not help.
    #[must_use]
    pub fn wait_ms(self, level: u64) -> Option<u64> {
        if level >= TOKEN {
            return Some(0);
        }
        self.fills_in_ms(TOKEN - level)
            .filter(|_| self.capacity > 0)
    }

    /// Microseconds in which an empty bucket is full; 0 where it never is.
    #[must_use]
    pub fn fill_micros(self) -> u64 {
        match self.rate {
            0 => 0,
            rate => self.full().div_ceil(u64::from(rate)),
        }
    }

    fn fills_in_ms(self, micro_tokens: u64) -> Option<u64> {
        let a_ms = u64::from(self.rate) * 1_000;
        (a_ms > 0).then(|| micro_tokens.div_ceil(a_ms))
    }
}

/// The share of one of `servers` in `whole`: at least 1 of anything.
#[must_use]
pub fn share(whole: u32, servers: u32) -> u32 {
    (whole / servers.max(1)).max(whole.min(1))
}

/// What a bucket answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How many of those that asked may pass.
    pub granted: u32,
    /// Micro-tokens that are left.
    pub remaining: u64,
    /// Milliseconds until a token is there: 0 where one is, `None` where waiting does not help.
    pub wait_ms: Option<u64>,
}

/// One key's bucket. A key without one has a full bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Micro-tokens. Invariant: never above the rule's capacity once it is advanced.
    level: u64,
    /// Microseconds of the bucket's clock.
    last: u64,
}

impl Bucket {
    #[must_use]
    pub fn full(rule: Rule, now: u64) -> Self {
        Self::at(rule.full(), now)
    }

    #[must_use]
    pub fn at(level: u64, now: u64) -> Self {
        Self { level, last: now }
    }

    /// Takes up to `wanted` tokens at `now`. What is not granted takes nothing.
    pub fn take(&mut self, rule: Rule, now: u64, wanted: u32) -> Taken {
        let granted = self.available(rule, now).min(wanted);
        self.level -= u64::from(granted) * TOKEN;
        Taken {
            granted,
            remaining: self.level,
            wait_ms: rule.wait_ms(self.level),
        }
    }

    /// Leaves no more than `most` micro-tokens at `now`.
    pub fn lower(&mut self, rule: Rule, now: u64, most: u64) {
        self.advance(rule, now);
        self.level = self.level.min(most);
    }

    /// Whole tokens that are there at `now`.
    pub fn available(&mut self, rule: Rule, now: u64) -> u32 {
        self.advance(rule, now);
        u32::try_from(self.level / TOKEN).unwrap_or(u32::MAX)
    }

    /// Whether the bucket is full at `now`, and so the same as none.
    #[must_use]
    pub fn is_full(mut self, rule: Rule, now: u64) -> bool {
        self.advance(rule, now);
        self.level == rule.full()
    }

    fn advance(&mut self, rule: Rule, now: u64) {
        // A step back is no time at all; beyond the time to fill, time changes nothing.
        let elapsed = now.saturating_sub(self.last).min(rule.fill_micros());
        let refilled = self.level + elapsed * u64::from(rule.rate);
        self.level = refilled.min(rule.full());
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: Rule = Rule {
        capacity: 20,
        rate: 20,
    };

    #[test]
    fn a_full_bucket_grants_its_capacity_and_then_its_rate() {
        let mut bucket = Bucket::full(RULE, 0);
        let taken = bucket.take(RULE, 0, 25);
        assert_eq!((taken.granted, taken.remaining), (20, 0));
        assert_eq!(taken.wait_ms, Some(50));
        assert_eq!(bucket.take(RULE, 49_999, 1).granted, 0);
        assert_eq!(bucket.take(RULE, 50_000, 1).granted, 1);
        assert_eq!(bucket.take(RULE, 1_050_000, 99).granted, 20);
    }

    #[test]
    fn where_waiting_does_not_help_there_is_no_wait() {
        for (capacity, rate) in [(0, 20), (20, 0), (0, 0)] {
            let rule = Rule { capacity, rate };
            let mut bucket = Bucket::full(rule, 0);
            bucket.take(rule, 0, 20);
            let taken = bucket.take(rule, u64::from(u32::MAX), 1);
            assert_eq!((taken.granted, taken.wait_ms), (0, None), "{rule:?}");
        }
    }

    #[test]
    fn a_clock_that_steps_back_is_forgiven_at_once() {
        let mut bucket = Bucket::full(RULE, 3_600_000_000);
        bucket.take(RULE, 3_600_000_000, 20);
        assert_eq!(bucket.take(RULE, 0, 1).granted, 0);
        assert_eq!(bucket.take(RULE, 50_000, 1).granted, 1);
    }

    #[test]
    fn shares_are_rounded_down_and_never_nothing() {
        assert_eq!((share(20, 3), share(2, 3), share(0, 3)), (6, 1, 0));
        assert_eq!(RULE.share(0), RULE);
    }

    fn rules() -> impl Strategy<Value = Rule> {
        let tokens = || prop_oneof![0..50_u32, 0..=TOKENS_MAX];
        (tokens(), tokens()).prop_map(|(capacity, rate)| Rule { capacity, rate })
    }

    /// Asks, each some time after the one before.
    fn asks() -> impl Strategy<Value = Vec<(u64, u32)>> {
        let pause = prop_oneof![0..100_u64, 0..200_000_u64, 0..4_000_000_000_u64];
        prop::collection::vec((pause, 1..40_u32), 1..60)
    }

    proptest! {
        #[test]
        fn in_any_window_no_more_passes_than_the_burst_and_the_rate(rule in rules(), asks in asks()) {
            let (mut now, mut bucket) = (0, Bucket::full(rule, 0));
            let mut passed = vec![];
            for (pause, wanted) in asks {
                now += pause;
                let taken = bucket.take(rule, now, wanted);
                prop_assert!(taken.granted <= wanted && taken.remaining <= rule.full());
                passed.push((now, u64::from(taken.granted)));
            }
            for from in 0..passed.len() {
                let mut sum = 0;
                for (until, granted) in &passed[from..] {
                    sum += granted * TOKEN;
                    let window = u128::from(until - passed[from].0);
                    let most = u128::from(rule.full()) + window * u128::from(rule.rate);
                    prop_assert!(u128::from(sum) <= most);
                }
            }
        }

        #[test]
        fn asking_often_is_the_same_as_asking_once(rule in rules(), pauses in prop::collection::vec(0..1_000_u64, 1..50)) {
            let mut often = Bucket::full(rule, 0);
            let mut once = often;
            often.take(rule, 0, u32::MAX);
            once.take(rule, 0, u32::MAX);
            let mut now = 0;
            for pause in pauses {
                now += pause;
                often.available(rule, now);
            }
            once.available(rule, now);
            prop_assert_eq!(often, once);
        }

        #[test]
        fn who_waits_as_told_is_granted(rule in rules(), asks in asks(), late_ms in 0..10_u64) {
            let (mut now, mut bucket) = (0, Bucket::full(rule, 0));
            for (pause, wanted) in asks {
                now += pause;
                if let Some(wait_ms) = bucket.take(rule, now, wanted).wait_ms {
                    let mut alone = bucket;
                    let then = now + (wait_ms + late_ms) * 1_000;
                    prop_assert_eq!(alone.take(rule, then, 1).granted, 1);
                }
            }
        }

        #[test]
        fn more_time_never_means_fewer_tokens(rule in rules(), level in 0..=u64::from(TOKENS_MAX) * TOKEN, early in 0..u64::from(u32::MAX), more in 0..u64::from(u32::MAX)) {
            let bucket = Bucket::at(level.min(rule.full()), 0);
            let (mut sooner, mut later) = (bucket, bucket);
            prop_assert!(sooner.available(rule, early) <= later.available(rule, early + more));
        }
    }
}
