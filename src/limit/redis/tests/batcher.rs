//! A core's questions: that what waits goes out together, and that who leaves takes nothing along.

use std::rc::Rc;

use futures_util::future::join_all;
use tokio::task::yield_now;

use super::super::super::{Ask, By, Decision, Decisions, Key, OnFailure, TOKEN, Verdict};
use super::super::{Core, Redis};
use super::{RULE, options, run};
use crate::domain::bucket::Rule;
use crate::services;

fn of(user: &str, slot: bool) -> Ask {
    Ask {
        key: Some(Key::User(user.into())),
        slot,
    }
}

const SLOT: Ask = Ask {
    key: None,
    slot: true,
};

fn passes(decision: &Decision) -> bool {
    assert_eq!(decision.by, By::Whole);
    matches!(decision.verdict, Verdict::Admitted(_))
}

/// A core of a server of its own.
async fn core(redis: &Redis) -> Rc<Core> {
    let core = Rc::new(redis.core());
    Core::start(&core).await;
    core
}

fn redis(rate: Rule, slots_max: u32) -> Redis {
    Redis::new(&services::redis_url(), options(rate, slots_max)).unwrap()
}

#[test]
fn requests_of_one_key_are_granted_in_part_and_told_what_was_left_for_each() {
    run(async {
        let rule = Rule { rate: 0, ..RULE };
        let core = core(&redis(rule, 1)).await;
        let decisions = join_all((0..30).map(|_| core.ask(of("a", false)))).await;
        assert_eq!(decisions.iter().filter(|one| passes(one)).count(), 20);
        let left = |one: &Decision| one.rate.unwrap().remaining / 1_000_000;
        let told: Vec<u64> = decisions.iter().map(left).collect();
        let falling: Vec<u64> = (0..20).rev().chain([0; 10]).collect();
        assert_eq!(told, falling);
    });
}

#[test]
fn what_comes_together_is_granted_in_part_in_the_order_of_coming() {
    run(async {
        let rule = Rule { rate: 0, ..RULE };
        let core = core(&redis(rule, 1)).await;
        let ask = |count| core.ask_many(Key::User("a".into()), count);
        let (first, leaver, second, third) = (ask(12), ask(5), ask(1), ask(9));
        drop(leaver);
        let (first, second, third) = (first.await, second.await, third.await);
        let told = |decisions: Decisions, count: u32| {
            (0..count).map(move |nth| {
                let one = decisions.nth(nth);
                (passes(&one), one.rate.unwrap().remaining / TOKEN)
            })
        };
        let told: Vec<_> = told(first, 12)
            .chain(told(second, 1))
            .chain(told(third, 9))
            .collect();
        let falling: Vec<_> = (0..20)
            .rev()
            .map(|left| (true, left))
            .chain([(false, 0); 2])
            .collect();
        assert_eq!(told, falling);
    });
}

#[test]
fn no_user_has_the_name_of_the_leases() {
    run(async {
        let redis = redis(RULE, 1);
        let core = core(&redis).await;
        let held = core.ask(SLOT).await;
        assert!(passes(&held));
        for _ in 0..2 {
            assert!(passes(&core.ask(of("leases", false)).await));
        }
        let other = self::core(&redis).await;
        assert!(!passes(&other.ask(SLOT).await), "the slot was forgotten");
    });
}

#[test]
fn many_keys_at_once_are_all_decided() {
    run(async {
        let core = core(&redis(RULE, 1)).await;
        let users: Vec<String> = (0..2_000).map(|nth| nth.to_string()).collect();
        let decisions = join_all(users.iter().map(|user| core.ask(of(user, false)))).await;
        assert!(decisions.iter().all(passes));
    });
}

#[test]
fn over_two_servers_slots_are_those_of_one() {
    run(async {
        let limits = options(RULE, 10);
        let server = || Redis::new(&services::redis_url(), limits.clone()).unwrap();
        let (one, other) = (server(), server());
        let cores = [core(&one).await, core(&other).await];
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
fn a_request_that_needs_both_is_refused_by_either_and_takes_neither() {
    run(async {
        let rule = Rule { rate: 0, ..RULE };
        let core = core(&redis(rule, 5)).await;
        let held = join_all((0..8).map(|_| core.ask(of("a", true)))).await;
        assert_eq!(held.iter().filter(|held| passes(held)).count(), 5);
        assert_eq!(held[7].rate.unwrap().remaining, 15_000_000);
        let Verdict::Refused(why) = held[7].verdict else {
            panic!("{:?}", held[7]);
        };
        assert!(why.in_flight && !why.rate && why.wait_ms.is_some());
        drop(held);
        let plain = join_all((0..15).map(|_| core.ask(of("a", false)))).await;
        assert!(plain.iter().all(passes));
        let refused = core.ask(of("a", true)).await;
        let Verdict::Refused(why) = refused.verdict else {
            panic!("{refused:?}");
        };
        assert!(why.rate && why.wait_ms.is_none());
        // The slots are all there still.
        let slots = join_all((0..5).map(|_| core.ask(SLOT))).await;
        assert!(slots.iter().all(passes));
    });
}

#[test]
fn who_leaves_while_waiting_holds_nothing() {
    run(async {
        let redis = redis(RULE, 3);
        let core = core(&redis).await;
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
        let server = || Redis::new(&services::redis_url(), limits.clone()).unwrap();
        let (one, other) = (server(), server());
        let staying = core(&one).await;
        let leaving = core(&other).await;
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
            let core = core(&redis).await;
            assert_eq!(redis.figures().cores_without_redis, 1);
            let decisions = join_all((0..30).map(|_| core.ask(of("a", false)))).await;
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
