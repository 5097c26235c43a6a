//! A core's questions: that what waits goes out together, and that who leaves takes nothing along.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use fred::interfaces::LuaInterface;
use futures_util::future::{join, join_all};
use tokio::task::yield_now;

use super::super::super::contract::{SLOT, of, passes};
use super::super::super::{By, Decision, Key, OnFailure, Options, Verdict};
use super::super::away::Away;
use super::super::holder::Holder;
use super::super::{Core, HEARTBEAT, Redis, leased};
use super::{RULE, client, options, run};
use crate::clock::Stopwatch;
use crate::domain::bucket::Rule;
use crate::services;

/// A core of a server of its own.
fn core(redis: &Redis) -> Rc<Core> {
    let core = Rc::new(redis.core());
    Core::start(&core);
    core
}

fn redis(rate: Rule, slots_max: u32) -> Redis {
    redis_of(options(rate, slots_max))
}

fn redis_of(limits: Options) -> Redis {
    Redis::new(&services::redis_url(), limits).unwrap()
}

#[test]
fn who_leaves_before_the_call_has_paid_nothing() {
    run(async {
        let rule = Rule { rate: 0, ..RULE };
        let core = core(&redis(rule, 1));
        let ask = |count| core.ask_many(Key::User("a".into()), count);
        let (first, leaver, second) = (ask(12), ask(5), ask(9));
        drop(leaver);
        let (first, second) = (first.await, second.await);
        assert!(passes(&first.nth(11)));
        assert!(passes(&second.nth(7)) && !passes(&second.nth(8)));
    });
}

#[test]
fn no_user_has_the_name_of_the_leases() {
    run(async {
        let redis = redis(RULE, 1);
        let core = core(&redis);
        let held = core.ask(SLOT).await;
        assert!(passes(&held));
        for _ in 0..2 {
            assert!(passes(&core.ask(of("leases", false)).await));
        }
        let other = self::core(&redis);
        assert!(!passes(&other.ask(SLOT).await), "the slot was forgotten");
    });
}

#[test]
fn who_wants_no_slot_does_not_have_them_spoken_of() {
    run(async {
        let mut limits = options(RULE, 1);
        // A call that may take longer than what is left of a heartbeat carries it.
        let period = HEARTBEAT / 5;
        limits.timeout = period * 4;
        let leases = format!("{}\0leases", limits.bucket_prefix);
        let redis = redis_of(limits);
        let core = core(&redis);
        let watch = Stopwatch::start();
        for nth in 0..100 {
            // Two at once trouble both lanes.
            let users = [format!("a{nth}"), format!("b{nth}")];
            let both = join_all(users.iter().map(|user| core.ask(of(user, false)))).await;
            assert!(both.iter().all(passes));
        }
        let values = "return redis.call('HVALS', KEYS[1])";
        let told: Vec<Bytes> = client().await.eval(values, leases, ()).await.unwrap();
        let [lease] = &*told else {
            panic!("one core has {} leases", told.len());
        };
        let sequence = f64::from_le_bytes(lease[8..16].try_into().unwrap());
        // At the start, and with each heartbeat.
        let beats = watch.elapsed().as_secs_f64() / period.as_secs_f64();
        assert!(sequence <= 2.0 + beats, "spoken of {sequence} times");
    });
}

#[test]
fn a_lease_lives_while_nothing_is_said_of_slots() {
    run(async {
        let mut limits = options(RULE, 1);
        limits.timeout = HEARTBEAT * 4 / 5;
        let server = || redis_of(limits.clone());
        let (holding, other) = (server(), server());
        let cores = [core(&holding), core(&other)];
        let held = cores[0].ask(SLOT).await;
        assert!(passes(&held));
        let watch = Stopwatch::start();
        let mut nth = 0;
        while watch.elapsed() < leased::life(limits.timeout) + HEARTBEAT {
            // Two at once keep both lanes busy.
            let users = [format!("a{nth}"), format!("b{nth}")];
            join_all(users.iter().map(|user| cores[0].ask(of(user, false)))).await;
            nth += 1;
        }
        assert!(!passes(&cores[1].ask(SLOT).await), "the slot was lost");
        assert_eq!(other.figures().servers, 2);
        drop(held);
    });
}

#[test]
fn redis_is_to_hear_of_slots_that_were_granted_without_it() {
    for policy in [OnFailure::Local, OnFailure::Open] {
        let mut limits = options(RULE, 1);
        limits.on_failure = policy;
        let Redis(server) = redis_of(limits);
        let holder = Rc::new(Holder::new(Arc::clone(&server), Rc::default()));
        let away = Away::new(server, Rc::clone(&holder));
        assert!(!holder.has_news());
        let granted = away.with_slot(None);
        assert!(matches!(granted.verdict, Verdict::Admitted(Some(_))));
        assert!(holder.has_news());
        assert_eq!(holder.tell(), 1);
        drop(granted);
        assert!(holder.has_news());
    }
}

#[test]
fn many_keys_at_once_are_all_decided() {
    run(async {
        let core = core(&redis(RULE, 1));
        let users: Vec<String> = (0..2_000).map(|nth| nth.to_string()).collect();
        let decisions = join_all(users.iter().map(|user| core.ask(of(user, false)))).await;
        assert!(decisions.iter().all(passes));
    });
}

/// A lane that always has somebody who needs a slot leaves the others to the other lane.
#[test]
fn who_needs_no_slot_is_decided_by_redis_beside_many_who_do() {
    run(async {
        let core = core(&redis(RULE, 1_000));
        let is_over = Rc::new(Cell::new(false));
        let claimants = (0..20).map(|nth| {
            let (core, is_over) = (Rc::clone(&core), Rc::clone(&is_over));
            async move {
                let mut claims = 0;
                while !is_over.get() {
                    core.ask(of(&format!("claimant {claims} {nth}"), true))
                        .await;
                    claims += 1;
                }
                claims
            }
        });
        let writer = async {
            let watch = Stopwatch::start();
            for nth in 0..100 {
                let decision = core.ask(of(&format!("writer {nth}"), false)).await;
                assert_eq!(decision.by, By::Whole, "write {nth}");
            }
            // A lane that nobody rouses looks with each heartbeat.
            let took = watch.elapsed();
            assert!(took < HEARTBEAT, "{took:?}");
            is_over.set(true);
        };
        let (claims, ()) = join(join_all(claimants), writer).await;
        assert!(claims.iter().all(|claims| *claims > 0), "{claims:?}");
    });
}

#[test]
fn over_two_servers_slots_are_those_of_one() {
    run(async {
        let limits = options(RULE, 10);
        let server = || redis_of(limits.clone());
        let (one, other) = (server(), server());
        let cores = [core(&one), core(&other)];
        let asks = (0..30).map(|nth| cores[nth % 2].ask(SLOT));
        let held = join_all(asks).await;
        assert_eq!(held.iter().filter(|held| passes(held)).count(), 10);
        assert_eq!(one.figures().in_flight + other.figures().in_flight, 10);
        drop(held);
        // Given back by one, had by the other: as soon as Redis is told.
        let mut again = vec![];
        while again.len() < 10 {
            let asked = cores[again.len() % 2].ask(SLOT).await;
            if passes(&asked) {
                again.push(asked);
            }
        }
        drop(again);
        assert_eq!(one.figures().in_flight + other.figures().in_flight, 0);
    });
}

#[test]
fn who_leaves_while_waiting_holds_nothing() {
    run(async {
        let redis = redis(RULE, 3);
        let core = core(&redis);
        for polls in 0..50 {
            let mut asks: Vec<_> = (0..3).map(|_| Box::pin(core.ask(SLOT))).collect();
            for ask in &mut asks {
                assert!(futures_util::poll!(ask).is_pending());
            }
            for _ in 0..polls {
                yield_now().await;
            }
            drop(asks);
            assert_eq!(redis.figures().in_flight, 0);
        }
        let mut all = join_all((0..3).map(|_| core.ask(SLOT))).await;
        while !all.iter().all(passes) {
            drop(all);
            all = join_all((0..3).map(|_| core.ask(SLOT))).await;
        }
    });
}

#[test]
fn a_server_that_closes_leaves_its_slots_to_the_others() {
    run(async {
        let limits = options(RULE, 4);
        let server = || redis_of(limits.clone());
        let (one, other) = (server(), server());
        let staying = core(&one);
        let leaving = core(&other);
        let held = leaving.ask(SLOT).await;
        assert!(passes(&held));
        let three = join_all((0..4).map(|_| staying.ask(SLOT))).await;
        assert_eq!(three.iter().filter(|held| passes(held)).count(), 3);
        assert_eq!(one.figures().servers, 2);
        drop((held, three));
        leaving.close().await;
        let four = join_all((0..4).map(|_| staying.ask(SLOT))).await;
        assert!(four.iter().all(passes));
    });
}

#[test]
fn without_redis_each_policy_does_what_it_says() {
    run(async {
        for policy in [OnFailure::Local, OnFailure::Open, OnFailure::Closed] {
            let mut limits = options(Rule { rate: 0, ..RULE }, 2);
            limits.on_failure = policy;
            // A port that nobody listens to.
            let redis = Redis::new("redis://127.0.0.1:9", limits).unwrap();
            let core = core(&redis);
            let decisions = join_all((0..30).map(|_| core.ask(of("a", false)))).await;
            assert_eq!(redis.figures().cores_without_redis, 1);
            let admitted = |one: &&Decision| matches!(one.verdict, Verdict::Admitted(_));
            let passed = decisions.iter().filter(admitted).count();
            let many = core.ask_many(Key::User("b".into()), 30).await;
            let of_many = (0..30).map(|nth| many.nth(nth));
            assert_eq!(of_many.filter(|one| admitted(&one)).count(), passed);
            assert_eq!(many.nth(29).by, decisions[29].by);
            let slots = join_all((0..3).map(|_| core.ask(SLOT))).await;
            let slots = slots.iter().filter(admitted).count();
            let by = decisions[0].by;
            match policy {
                OnFailure::Local => assert_eq!((passed, slots, by), (20, 2, By::Share)),
                OnFailure::Open => assert_eq!((passed, slots, by), (30, 3, By::Policy)),
                OnFailure::Closed => assert_eq!((passed, slots, by), (0, 0, By::Policy)),
            }
        }
    });
}
