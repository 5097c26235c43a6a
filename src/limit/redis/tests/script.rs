//! `lua/admit.lua` itself: what it holds about leases and keys, and that its clock is Redis'.
//!
//! The script takes its time from `TIME` and from nowhere else. For the test it is loaded with that
//! one line replaced, so that the time is its last argument, and with longer lives of keys, since
//! real time must not end them. Nothing else of it differs.

use fred::interfaces::{KeysInterface, LuaInterface};
use fred::types::Value;

use super::super::super::{Key, Options};
use super::super::leased;
use super::super::script::{ADMIT, Asked, Failed, Lease, Reply, Script};
use super::{RULE, client, config, options, run};
use crate::domain::bucket::{Rule, TOKEN};

const CLOCK: &str = "local clock = redis.call('TIME')";
const TEST_CLOCK: &str = "local clock = { 0, ARGV[#ARGV] }";
const LIFE: &str = "local life_ms = 1 + ";
const TEST_LIFE: &str = "local life_ms = 1000001 + ";

pub(super) fn with_test_clock() -> String {
    assert_eq!(
        (ADMIT.matches(CLOCK).count(), ADMIT.matches(LIFE).count()),
        (1, 1)
    );
    assert_eq!(ADMIT.matches("TIME'").count(), 1, "there is another clock");
    ADMIT.replace(CLOCK, TEST_CLOCK).replace(LIFE, TEST_LIFE)
}

pub(super) async fn connect(source: &str, options: &Options) -> Script {
    let script = Script::with_source(source, config(), options);
    script.connected().await;
    script
}

pub(super) fn key(nth: usize) -> Key {
    Key::User(format!("user {nth}").into())
}

fn asked(keys: &[(Key, usize)]) -> impl ExactSizeIterator<Item = Asked<'_>> + Clone {
    keys.iter().map(|(key, wanted)| Asked {
        key,
        wanted: *wanted,
    })
}

/// What one call asks.
pub(super) struct Call {
    pub holder: usize,
    pub sequence: u64,
    pub in_use: u32,
    pub wanted: usize,
    pub plain: Vec<(Key, usize)>,
    pub with_slot: Vec<(Key, usize)>,
    pub now: u64,
}

impl Call {
    pub async fn send(&self, script: &Script) -> Result<Reply, Failed> {
        let holder = format!("server{}:0", self.holder);
        let lease = Lease {
            holder: &holder,
            sequence: self.sequence,
            in_use: self.in_use,
            stays: self.holder == 0,
            wanted: self.wanted,
        };
        let now = Value::from(self.now.to_string());
        let (plain, with_slot) = (asked(&self.plain), asked(&self.with_slot));
        script.call(Some(&lease), plain, with_slot, Some(now)).await
    }
}

pub(super) fn lease_micros(options: &Options) -> u64 {
    u64::try_from(leased::life(options.timeout).as_micros()).unwrap()
}

/// A holder's call that asks for nothing but slots.
fn slots(holder: usize, sequence: u64, in_use: u32, wanted: usize, now: u64) -> Call {
    Call {
        holder,
        sequence,
        in_use,
        wanted,
        plain: vec![],
        with_slot: vec![],
        now,
    }
}

#[test]
fn a_dead_holders_slots_come_back_when_its_lease_is_over() {
    let source = with_test_clock();
    run(async {
        let script = connect(&source, &options(RULE, 10)).await;
        let lease_micros = lease_micros(&options(RULE, 10));
        let start = 1_700_000_000_000_000;
        let first = slots(1, 1, 0, 8, start).send(&script).await.unwrap();
        assert_eq!(first.alone, 8);
        let late = start + lease_micros - 1;
        let second = slots(2, 1, 0, 8, late).send(&script).await.unwrap();
        assert_eq!((second.alone, second.servers), (2, 2));
        let over = slots(2, 2, 2, 8, late + 1).send(&script).await.unwrap();
        assert_eq!((over.alone, over.servers), (8, 1));

        // The first one was only asleep. All it has in use is taken by now, and it gets nothing.
        let awake = slots(1, 2, 8, 1, late + 2).send(&script).await.unwrap();
        assert_eq!((awake.alone, awake.slots_left), (0, 0));
        assert_ne!(awake.epoch, first.epoch);
        let given_back = slots(2, 3, 0, 0, late + 3).send(&script).await.unwrap();
        assert_eq!(given_back.slots_left, 10);
        let anew = slots(1, 3, 8, 1, late + 4).send(&script).await.unwrap();
        assert_eq!((anew.alone, anew.slots_left), (1, 1));
    });
}

#[test]
fn a_call_that_arrives_late_changes_nothing() {
    let source = with_test_clock();
    run(async {
        let script = connect(&source, &options(RULE, 10)).await;
        let now = 1_700_000_000_000_000;
        slots(1, 2, 0, 3, now).send(&script).await.unwrap();
        for stale in [1, 2] {
            let mut call = slots(1, stale, 9, 1, now);
            call.plain = vec![(key(1), 5)];
            let refused = call.send(&script).await.unwrap_err().to_string();
            assert!(refused.contains("LATE"), "{refused}");
        }
        let mut next = slots(1, 3, 3, 0, now);
        next.plain = vec![(key(1), 20)];
        let next = next.send(&script).await.unwrap();
        assert_eq!((next.slots_left, next.buckets[0].granted), (7, 20));
    });
}

#[test]
fn keys_live_until_their_bucket_is_full_and_for_ever_where_it_never_is() {
    run(async {
        let redis = client().await;
        for (rule, lives) in [(RULE, true), (Rule { rate: 0, ..RULE }, false)] {
            let options = options(rule, 1);
            let script = connect(ADMIT, &options).await;
            // A second is what 20 tokens take, and a busy machine looks a moment later.
            for (user, taken, life) in [(1, 20, 700..=1_001), (2, 10, 200..=501)] {
                let asks = [(key(user), taken)];
                script
                    .call(None, asked(&asks), asked(&[]), None)
                    .await
                    .unwrap();
                let bucket = format!("{}user {user}", options.bucket_prefix);
                let life_ms: i64 = redis.pttl(&bucket).await.unwrap();
                if lives {
                    assert!(life.contains(&life_ms), "{taken} taken: {life_ms}");
                } else {
                    assert_eq!(life_ms, -1);
                    let _: i64 = redis.del(&bucket).await.unwrap();
                }
            }
        }
    });
}

#[test]
fn what_somebody_else_wrote_is_a_full_bucket_and_no_lease() {
    let nan = f64::NAN.to_le_bytes();
    let doubles = |level: f64| [level.to_le_bytes(), 0_f64.to_le_bytes()].concat();
    let foreign = [
        b"".to_vec(),
        b"20".to_vec(),
        b"twenty tokens, and then some".to_vec(),
        [nan, nan].concat(),
        doubles(-1e300),
        doubles(f64::INFINITY),
    ];
    run(async {
        let options = options(RULE, 3);
        let script = connect(ADMIT, &options).await;
        let redis = client().await;
        for bytes in foreign {
            let bucket = format!("{}user 1", options.bucket_prefix);
            let written = bytes.as_slice();
            let _: () = redis.set(bucket, written, None, None, false).await.unwrap();
            let leases = format!("{}\0leases", options.bucket_prefix);
            let set = "return redis.call('HSET', KEYS[1], 'server9:0', ARGV[1])";
            let _: i64 = redis.eval(set, leases, written).await.unwrap();
            let lease = Lease {
                holder: "server0:0",
                sequence: u64::try_from(bytes.len()).unwrap() + 1,
                in_use: 0,
                stays: false,
                wanted: 0,
            };
            let asks = [(key(1), 25)];
            let reply = script
                .call(Some(&lease), asked(&asks), asked(&[]), None)
                .await
                .unwrap();
            assert_eq!((reply.slots_left, reply.servers), (3, 1), "{bytes:?}");
            assert_eq!(reply.buckets[0].granted, 20, "{bytes:?}");
        }
    });
}

/// Exact, unless a step takes a second: as long as the bucket, which is emptied first, takes to fill.
#[test]
fn by_redis_own_clock_the_burst_and_the_rate_pass_and_no_more() {
    let rule = Rule {
        capacity: 2_000,
        rate: 2_000,
    };
    run(async {
        let script = connect(ADMIT, &options(rule, 1)).await;
        let redis = client().await;
        let micros = async || {
            let time: Vec<u64> = redis
                .eval("return redis.call('TIME')", (), ())
                .await
                .unwrap();
            time[0] * 1_000_000 + time[1]
        };
        let ask = async |wanted| {
            let asks = [(key(1), wanted)];
            let reply = script.call(None, asked(&asks), asked(&[]), None).await;
            let bucket = reply.unwrap().buckets[0];
            (bucket.granted as u64 * TOKEN, bucket.remaining)
        };
        let started = micros().await;
        let (mut passed, _) = ask(2_000).await;
        assert_eq!(passed, rule.full());
        let emptied = micros().await;
        let (mut before, mut ended, mut remaining) = (emptied, emptied, 0);
        while before < emptied + 300_000 {
            before = ended;
            let granted;
            (granted, remaining) = ask(30).await;
            passed += granted;
            ended = micros().await;
        }
        let in_time = |micros: u64| rule.full() + micros * u64::from(rule.rate);
        let all = passed + remaining;
        let (least, most) = (in_time(before - emptied), in_time(ended - started));
        assert!((least..=most).contains(&all), "{all} of {least} to {most}");
    });
}

#[test]
fn a_script_that_redis_has_forgotten_is_sent_again() {
    run(async {
        let script = connect(ADMIT, &options(RULE, 1)).await;
        let redis = client().await;
        for granted in [15, 5] {
            let _: () = redis.script_flush(false).await.unwrap();
            let asks = [(key(1), 15)];
            let reply = script
                .call(None, asked(&asks), asked(&[]), None)
                .await
                .unwrap();
            assert!(reply.buckets[0].granted >= granted);
        }
    });
}
