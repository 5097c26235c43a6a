//! That the script is the bucket of `domain`, and counts leases: against the same in Rust, through
//! long random sequences of calls.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::super::{Key, Options};
use super::super::script::{Answer, Reply};
use super::script::{Call, connect, key, lease_micros, with_test_clock};
use super::{options, run};
use crate::domain::bucket::{Bucket, Rule, TOKENS_MAX};

/// What the script shall do, in Rust.
struct Model {
    rule: Rule,
    slots_max: u32,
    /// How long leases live: every other holder has another deadline for its calls.
    lives: [u64; 2],
    buckets: HashMap<Key, Bucket>,
    /// Slots, deadline and life of each holder's lease.
    leases: HashMap<usize, (u32, u64, u64)>,
}

impl Model {
    fn reply(&mut self, call: &Call) -> Reply {
        for (_, deadline, life) in self.leases.values_mut() {
            *deadline = (*deadline).min(call.now + *life);
        }
        let (now, me) = (call.now, call.holder);
        self.leases
            .retain(|holder, (_, deadline, _)| *holder == me || *deadline > now);
        let others: Vec<u32> = self.others(me).collect();
        let allowed = self.slots_max.saturating_sub(others.iter().sum());
        let mut mine = call.in_use.min(allowed);
        let mut room = allowed - mine;
        let mut grant = |wanted: u32, room: &mut u32| {
            let granted = wanted.min(*room);
            *room -= granted;
            mine += granted;
            granted
        };
        let alone = grant(u32::try_from(call.wanted).unwrap(), &mut room);
        let mut buckets = vec![];
        for (key, wanted) in &call.plain {
            buckets.push(self.take(key, now, *wanted, u32::MAX));
        }
        for (key, wanted) in &call.with_slot {
            let answer = self.take(key, now, *wanted, room);
            grant(u32::try_from(answer.granted).unwrap(), &mut room);
            buckets.push(answer);
        }
        let life = self.lives[me % 2];
        self.leases.insert(me, (mine, now + life, life));
        if mine == 0 && me != 0 {
            self.leases.remove(&me);
        }
        assert!(self.leases.values().map(|(count, ..)| count).sum::<u32>() <= self.slots_max);
        Reply {
            servers: u32::try_from(others.len() + 1).unwrap(),
            epoch: 0,
            alone: alone as usize,
            slots_left: room,
            buckets,
        }
    }

    fn others(&self, me: usize) -> impl Iterator<Item = u32> {
        let others = self.leases.iter().filter(move |(holder, _)| **holder != me);
        others.map(|(_, (count, ..))| *count)
    }

    fn take(&mut self, key: &Key, now: u64, wanted: usize, room: u32) -> Answer {
        let rule = self.rule;
        let full = Bucket::full(rule, now);
        let bucket = self.buckets.entry(key.clone()).or_insert(full);
        let wanted = u32::try_from(wanted).unwrap().min(room);
        let taken = bucket.take(rule, now, wanted);
        Answer {
            granted: taken.granted as usize,
            remaining: taken.remaining,
            wait_ms: taken.wait_ms,
        }
    }
}

fn any_keys(dice: &mut StdRng) -> Vec<(Key, usize)> {
    // Keys in one call differ, as they do in a batch.
    let first = dice.random_range(0..6);
    let count = dice.random_range(0..4);
    (first..first + count)
        .map(|nth| (key(nth), dice.random_range(1..8)))
        .collect()
}

/// A time after `now`, or rarely before it.
fn later(dice: &mut StdRng, now: u64) -> u64 {
    match dice.random_range(0..20) {
        0 => now.saturating_sub(dice.random_range(0..20_000_000)),
        1 => now + dice.random_range(0..3_600_000_000),
        // About as long as leases live, the short ones and the long.
        2 => now + dice.random_range(0..40_000_000),
        3..8 => now + dice.random_range(0..1_500_000),
        _ => now + dice.random_range(0..20_000),
    }
}

fn any_rule(dice: &mut StdRng) -> Rule {
    let mut tokens = || match dice.random_range(0..4) {
        0 => dice.random_range(0..=TOKENS_MAX),
        1 => dice.random_range(0..3),
        _ => dice.random_range(1..60),
    };
    Rule {
        capacity: tokens(),
        rate: tokens(),
    }
}

#[test]
fn the_script_is_the_bucket_of_the_domain() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let source = with_test_clock();
    run(async {
        for _ in 0..40 {
            let rule = any_rule(&mut dice);
            let slots_max = dice.random_range(0..12);
            let long = options(rule, slots_max);
            let short = Options {
                timeout: long.timeout / 4,
                ..long.clone()
            };
            let both = [long, short];
            assert_ne!(lease_micros(&both[0]), lease_micros(&both[1]));
            let scripts = [
                connect(&source, &both[0]).await,
                connect(&source, &both[1]).await,
            ];
            let mut model = Model {
                rule,
                slots_max,
                lives: both.each_ref().map(lease_micros),
                buckets: HashMap::new(),
                leases: HashMap::new(),
            };
            let mut now = 1_700_000_000_000_000;
            for step in 1..=250 {
                now = later(&mut dice, now);
                let plain = any_keys(&mut dice);
                let mut with_slot = any_keys(&mut dice);
                // A call names a key once.
                with_slot.retain(|(key, _)| plain.iter().all(|(other, _)| other != key));
                let call = Call {
                    holder: dice.random_range(0..3),
                    sequence: step,
                    in_use: dice.random_range(0..5),
                    wanted: dice.random_range(0..3),
                    plain,
                    with_slot,
                    now,
                };
                let mut said = call.send(&scripts[call.holder % 2]).await.unwrap();
                said.epoch = 0;
                assert_eq!(
                    said,
                    model.reply(&call),
                    "seed {seed}, {rule:?}, step {step}"
                );
            }
            for script in scripts {
                script.close().await;
            }
        }
    });
}
