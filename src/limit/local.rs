//! Limits in this process' memory: all of them when alone, its share of them while Redis is away.
//!
//! Buckets lie in shards, each behind a lock that is held for some 100 ns, so the count is exact
//! over all cores. A bucket that is full again is the same as none and is swept out, so memory
//! follows the keys that were used within the time it takes to fill a bucket.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Ask, By, Decision, Decisions, Figures, Key, Options, Permit, Rate, Refusal, Slot, Verdict,
};
use crate::clock::Stopwatch;
use crate::domain::bucket::{Bucket, Rule};

/// Shards: more than cores, so that two rarely meet.
const SHARDS: usize = 64;
/// Buckets of one shard, at most: a million in all, some 100 MB with addresses or short names. Beyond,
/// newcomers of a shard have one bucket together, so that nobody gets more than his own would give.
const SHARD_KEYS_MAX: usize = 1 << 14;
/// Buckets of a shard below which nothing is swept.
const SWEEP_KEYS_MIN: usize = 64;

/// Buckets and slots of this process.
pub struct Local {
    options: Options,
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// Slots in use.
    in_flight: Arc<AtomicU32>,
    /// The buckets' clock, which no adjustment of the system's time moves.
    clock: Stopwatch,
}

#[derive(Default)]
struct Shard {
    buckets: HashMap<Key, Bucket>,
    /// Of all that find no room for a bucket of their own.
    crowd: Option<Bucket>,
    /// Newcomers until the next sweep.
    sweep_in: usize,
    /// When the last one was, in the buckets' time.
    swept_at: u64,
}

/// Where slots are counted: one must be free, and is taken with the token or not at all.
pub(super) trait Slots {
    fn take(&self) -> Option<Permit>;
    /// Whether one is free, which may be another's in a moment.
    fn are_free(&self) -> bool;
}

/// Slots of this process.
struct Own<'a> {
    in_flight: &'a Arc<AtomicU32>,
    most: u32,
}

impl Slots for Own<'_> {
    fn take(&self) -> Option<Permit> {
        let free = |taken| (taken < self.most).then_some(taken + 1);
        self.in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, free)
            .is_ok()
            .then(|| Permit(Slot::Local(Arc::clone(self.in_flight))))
    }

    fn are_free(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) < self.most
    }
}

impl Local {
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            in_flight: Arc::default(),
            clock: Stopwatch::start(),
        }
    }

    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            in_flight: self.in_flight.load(Ordering::Relaxed),
            servers: 1,
            cores_without_redis: 0,
        }
    }

    #[must_use]
    pub fn ask(&self, ask: &Ask) -> Decision {
        let slots = Own {
            in_flight: &self.in_flight,
            most: self.options.slots_max,
        };
        let can_wait = self.options.slots_max > 0;
        self.decide(ask, self.options.rate, &slots, can_wait, By::Whole)
    }

    #[must_use]
    pub fn ask_many(&self, key: &Key, count: u32) -> Decisions {
        self.decide_many(key, count, self.options.rate, By::Whole)
    }

    /// Decides by `rule` and `slots`. `slots_come_free` is whether waiting for one can help.
    pub(super) fn decide(
        &self,
        ask: &Ask,
        rule: Rule,
        slots: &impl Slots,
        slots_come_free: bool,
        by: By,
    ) -> Decision {
        let Some(key) = &ask.key else {
            let permit = slots.take();
            let verdict = match permit {
                Some(permit) => Verdict::Admitted(Some(permit)),
                None => Verdict::Refused(Refusal::no_slot(slots_come_free)),
            };
            return Decision {
                verdict,
                rate: None,
                by,
            };
        };
        if !ask.slot {
            return self.decide_many(key, 1, rule, by).nth(0);
        }
        self.with_bucket(key, rule, |bucket, now| {
            let has_token = bucket.available(rule, now) > 0;
            let permit = if has_token { slots.take() } else { None };
            let taken = bucket.take(rule, now, permit.is_some().into());
            let verdict = match permit {
                Some(permit) => Verdict::Admitted(Some(permit)),
                None if has_token => Verdict::Refused(Refusal::no_slot(slots_come_free)),
                None => Verdict::Refused(Refusal {
                    in_flight: !slots.are_free(),
                    ..Refusal::no_token(taken.wait_ms)
                }),
            };
            let rate = Some(Rate {
                rule,
                remaining: taken.remaining,
            });
            Decision { verdict, rate, by }
        })
    }

    /// Decides by `rule` about `count` requests that need no slot.
    pub(super) fn decide_many(&self, key: &Key, count: u32, rule: Rule, by: By) -> Decisions {
        let taken = self.with_bucket(key, rule, |bucket, now| bucket.take(rule, now, count));
        Decisions {
            granted: taken.granted,
            others: Some(Refusal::no_token(taken.wait_ms)),
            rate: Some(Rate {
                rule,
                remaining: taken.remaining,
            }),
            by,
        }
    }

    /// Notes what Redis says is left of a key's bucket: if it goes away, this goes on from there.
    /// It only ever lowers the level, since another core may be deciding by it already.
    pub(super) fn note(&self, key: &Key, rule: Rule, level: u64) {
        let (mut shard, now) = self.shard(key);
        if let Some(bucket) = shard.own(key, rule, now) {
            bucket.lower(rule, now, level);
        }
    }

    fn with_bucket<T>(&self, key: &Key, rule: Rule, then: impl FnOnce(&mut Bucket, u64) -> T) -> T {
        let (mut shard, now) = self.shard(key);
        if let Some(bucket) = shard.own(key, rule, now) {
            return then(bucket, now);
        }
        let crowd = shard.crowd.get_or_insert_with(|| Bucket::full(rule, now));
        then(crowd, now)
    }

    /// The shard of a key and the time, read under its lock: a bucket's time never goes back.
    fn shard(&self, key: &Key) -> (MutexGuard<'_, Shard>, u64) {
        let nth = usize::try_from(self.hasher.hash_one(key)).unwrap_or(0) % SHARDS;
        let shard = lock(&self.shards[nth]);
        let now = u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX);
        (shard, now)
    }

    /// Buckets that are held.
    #[cfg(test)]
    fn keys(&self) -> usize {
        let len = |shard: &Mutex<Shard>| lock(shard).buckets.len();
        self.shards.iter().map(len).sum()
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A panic leaves a bucket as it was before or after.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// The key's own bucket; `None` where there is no room for one.
    fn own(&mut self, key: &Key, rule: Rule, now: u64) -> Option<&mut Bucket> {
        if !self.buckets.contains_key(key) {
            self.make_room(rule, now);
            if self.buckets.len() >= SHARD_KEYS_MAX {
                return None;
            }
            self.buckets.insert(key.clone(), Bucket::full(rule, now));
        }
        self.buckets.get_mut(key)
    }

    /// Sweeps once as many newcomers have come as were left by the last sweep: each pays for one. A
    /// shard that is full does so too when all that it had then can be full buckets by now, so that
    /// a crowd does not outlive those who made it.
    fn make_room(&mut self, rule: Rule, now: u64) {
        let is_full = self.buckets.len() >= SHARD_KEYS_MAX;
        let is_stale = is_full && rule.rate > 0 && now - self.swept_at > rule.fill_micros();
        if self.sweep_in > 0 && !is_stale {
            self.sweep_in -= 1;
            return;
        }
        self.swept_at = now;
        self.buckets.retain(|_, bucket| !bucket.is_full(rule, now));
        self.sweep_in = self.buckets.len().max(SWEEP_KEYS_MIN);
        self.buckets.shrink_to(2 * self.sweep_in);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::super::Limiter;
    use super::super::contract::{of, options, passes, suite};
    use super::*;

    suite!(|options| Limiter::Local(Arc::new(Local::new(options))));

    fn local(rate: Rule, slots_max: u32) -> Local {
        Local::new(options(rate, slots_max))
    }

    const NEVER_REFILLED: Rule = Rule {
        capacity: 1_000,
        rate: 0,
    };

    #[test]
    fn a_bucket_is_exact_over_all_threads() {
        let local = local(NEVER_REFILLED, 1);
        let passed: usize = thread::scope(|scope| {
            let hammer = || {
                (0..1_000)
                    .filter(|_| passes(&local.ask(&of("a", false))))
                    .count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(hammer)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(passed, 1_000);
    }

    #[test]
    fn buckets_that_are_full_again_are_dropped() {
        // Refilled within a microsecond.
        let rule = Rule {
            capacity: 1,
            rate: 1_000_000_000,
        };
        let local = local(rule, 1);
        for user in 0..200_000 {
            assert!(passes(&local.ask(&of(&user.to_string(), false))));
        }
        let most = 2 * SHARDS * SWEEP_KEYS_MIN;
        assert!(local.keys() <= most, "{} buckets are held", local.keys());
    }

    #[test]
    fn beyond_the_room_newcomers_share_a_bucket() {
        let local = local(
            Rule {
                capacity: 1,
                rate: 0,
            },
            1,
        );
        let users = SHARDS * SHARD_KEYS_MAX + 100_000;
        let ask = |user: usize| local.ask(&of(&user.to_string(), false));
        let passed = (0..users).filter(|user| passes(&ask(*user))).count();
        assert!(local.keys() <= SHARDS * SHARD_KEYS_MAX);
        assert!(passed <= SHARDS * (SHARD_KEYS_MAX + 1), "{passed} passed");
    }

    #[tokio::test(start_paused = true)]
    async fn newcomers_have_buckets_of_their_own_again_when_those_of_a_crowd_are_full() {
        let rule = Rule {
            capacity: 1,
            rate: 1,
        };
        let local = local(rule, 1);
        let ask = |user: usize| passes(&local.ask(&of(&user.to_string(), false)));
        let crowd = SHARDS * SHARD_KEYS_MAX + 100_000;
        let passed = (0..crowd).filter(|user| ask(*user)).count();
        assert!(passed < crowd);
        tokio::time::advance(2 * Duration::from_secs(1)).await;
        assert!((crowd..crowd + 1_000).all(ask));
    }
}
