//! What every limiter keeps to. Each back end runs the whole suite.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::yield_now;

use super::*;
use crate::clock::Stopwatch;
use crate::runtime;

/// Declares a test for each function of the suite. `$open` makes a limiter of the given [`Options`].
macro_rules! suite {
    ($open:expr) => {
        $crate::limit::contract::suite!($open;
            many_at_once_are_decided_as_one_after_the_other,
            what_comes_together_is_granted_in_part_in_the_order_of_coming,
            a_refused_request_consumes_nothing,
            an_empty_bucket_says_when_to_come_again_and_then_lets_pass,
            where_waiting_does_not_help_no_time_is_told,
            a_bucket_refills_up_to_its_capacity,
            each_key_has_a_bucket_of_its_own,
            beyond_the_slots_none_is_given_until_one_comes_back,
            a_request_that_needs_both_is_refused_by_either_and_takes_neither,
            who_lacks_both_is_told_of_both,
            the_cores_of_a_server_share_its_limits,
        );
    };
    ($open:expr; $($name:ident,)+) => {
        $(
            #[test]
            fn $name() {
                $crate::limit::contract::run($crate::limit::contract::$name($open));
            }
        )+
    };
}
pub(crate) use suite;

pub const RULE: Rule = Rule {
    capacity: 20,
    rate: 20,
};
const NEVER_REFILLED: Rule = Rule { rate: 0, ..RULE };

/// A slot, and no token.
pub const SLOT: Ask = Ask {
    key: None,
    slot: true,
};

/// Limits under a prefix that no other test has. The deadline is one that a busy machine keeps.
pub fn options(rate: Rule, slots_max: u32) -> Options {
    Options {
        rate,
        slots_max,
        bucket_prefix: format!("test:{:032x}:", rand::random::<u128>()),
        on_failure: OnFailure::Closed,
        timeout: Duration::from_secs(10),
    }
}

/// Runs a test as a serving core runs: one thread, and tasks that stay on it.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    runtime::single_threaded_local().unwrap().block_on(test)
}

pub fn of(user: &str, slot: bool) -> Ask {
    Ask {
        key: Some(Key::User(user.into())),
        slot,
    }
}

pub fn passes(decision: &Decision) -> bool {
    assert_eq!(decision.by, By::Whole);
    matches!(decision.verdict, Verdict::Admitted(_))
}

fn refusal(decision: &Decision) -> Refusal {
    assert_eq!(decision.by, By::Whole);
    match decision.verdict {
        Verdict::Refused(refusal) => refusal,
        _ => panic!("{decision:?}"),
    }
}

/// Micro-tokens that are left.
fn left(decision: &Decision) -> u64 {
    decision.rate.unwrap().remaining
}

/// A limiter and a core that asks it.
fn started(open: impl Fn(Options) -> Limiter, options: Options) -> (Limiter, Core) {
    let limiter = open(options);
    let core = limiter.core();
    core.start();
    (limiter, core)
}

pub async fn many_at_once_are_decided_as_one_after_the_other(open: impl Fn(Options) -> Limiter) {
    for capacity in [0, 5, 20] {
        let rule = Rule { capacity, rate: 0 };
        let (_limiter, at_once) = started(&open, options(rule, 1));
        let (_limiter, in_turn) = started(&open, options(rule, 1));
        for count in [0, 1, 3, 7] {
            let many = at_once.ask_many(Key::User("a".into()), count).await;
            for nth in 0..count {
                let (one, other) = (many.nth(nth), in_turn.ask(of("a", false)).await);
                assert_eq!(format!("{one:?}"), format!("{other:?}"), "{rule:?}");
            }
        }
    }
}

pub async fn what_comes_together_is_granted_in_part_in_the_order_of_coming(
    open: impl Fn(Options) -> Limiter,
) {
    let (_limiter, core) = started(open, options(NEVER_REFILLED, 1));
    let each = join_all((0..30).map(|_| core.ask(of("b", false)))).await;
    let told: Vec<_> = each
        .iter()
        .map(|one| (passes(one), left(one) / TOKEN))
        .collect();
    let falling = (0..20).rev().map(|left| (true, left));
    let falling: Vec<_> = falling.chain([(false, 0); 10]).collect();
    assert_eq!(told, falling);

    let ask = |count| core.ask_many(Key::User("a".into()), count);
    let (first, second, third) = (ask(12), ask(1), ask(9));
    let (first, second, third) = (first.await, second.await, third.await);
    let told = |decisions: Decisions, count: u32| {
        (0..count).map(move |nth| {
            let one = decisions.nth(nth);
            (passes(&one), left(&one) / TOKEN)
        })
    };
    let told: Vec<_> = told(first, 12)
        .chain(told(second, 1))
        .chain(told(third, 9))
        .collect();
    assert_eq!(told, falling[..22]);
}

pub async fn a_refused_request_consumes_nothing(open: impl Fn(Options) -> Limiter) {
    let rule = Rule {
        capacity: 3,
        rate: 0,
    };
    let (limiter, core) = started(open, options(rule, 1));
    let held = core.ask(of("a", true)).await;
    assert!(passes(&held));
    for _ in 0..5 {
        // Two tokens are there, and no slot.
        let refused = core.ask(of("a", true)).await;
        assert_eq!(refusal(&refused), Refusal::no_slot(true));
        assert_eq!(left(&refused), 2 * TOKEN);
    }
    let both = core.ask_many(Key::User("a".into()), 5).await;
    assert_eq!((0..5).filter(|nth| passes(&both.nth(*nth))).count(), 2);
    drop(held);
    for _ in 0..5 {
        // The slot is there, and no token.
        let refused = core.ask(of("a", true)).await;
        assert_eq!(refusal(&refused), Refusal::no_token(None));
        assert_eq!(limiter.figures().in_flight, 0);
    }
    assert!(passes(&core.ask(SLOT).await));
}

pub async fn an_empty_bucket_says_when_to_come_again_and_then_lets_pass(
    open: impl Fn(Options) -> Limiter,
) {
    let rule = Rule {
        capacity: 1,
        rate: 5,
    };
    let (_limiter, core) = started(open, options(rule, 1));
    for _ in 0..3 {
        let first = eventually_admitted(&core).await;
        assert_eq!(first.rate.unwrap().rule, rule);
        let asked = Stopwatch::start();
        let refused = core.ask(of("a", false)).await;
        let wait_ms = refusal(&refused).wait_ms.unwrap();
        // The token was taken, and comes back in a fifth of a second.
        assert!((1..=200).contains(&wait_ms), "{wait_ms}");
        let missing = TOKEN - left(&refused);
        assert_eq!(wait_ms, missing.div_ceil(5_000), "{refused:?}");
        eventually_admitted(&core).await;
        // Both clocks count in microseconds; what was told is rounded up to milliseconds.
        let waited = asked.elapsed() + Duration::from_millis(1);
        let told = Duration::from_millis(wait_ms);
        assert!(waited >= told, "after {waited:?}, and {told:?} were told");
        // What was asked too early has not put it off.
        let after = core.ask(of("a", false)).await;
        assert!(refusal(&after).wait_ms.unwrap() <= 200);
    }
}

async fn eventually_admitted(core: &Core) -> Decision {
    let asked = Stopwatch::start();
    loop {
        let decision = core.ask(of("a", false)).await;
        if passes(&decision) {
            return decision;
        }
        assert!(asked.elapsed() < Duration::from_secs(20), "{decision:?}");
        yield_now().await;
    }
}

pub async fn where_waiting_does_not_help_no_time_is_told(open: impl Fn(Options) -> Limiter) {
    // A token is more than such a bucket ever holds.
    let none = Rule {
        capacity: 0,
        rate: 20,
    };
    let (_limiter, core) = started(&open, options(none, 0));
    for ask in [of("a", false), of("a", true)] {
        let refused = core.ask(ask).await;
        let why = refusal(&refused);
        assert!(why.rate && why.wait_ms.is_none(), "{why:?}");
        assert_eq!(left(&refused), 0);
    }
    // Nor does a slot come free where there are none.
    let refused = core.ask(SLOT).await;
    assert_eq!(refusal(&refused), Refusal::no_slot(false));
    assert_eq!(refused.rate, None);

    let (_limiter, core) = started(&open, options(NEVER_REFILLED, 0));
    let refused = core.ask(of("a", true)).await;
    assert_eq!(refusal(&refused), Refusal::no_slot(false));
    assert_eq!(left(&refused), 20 * TOKEN);
    let all = core.ask_many(Key::User("a".into()), 21).await;
    assert!(passes(&all.nth(19)));
    assert_eq!(refusal(&all.nth(20)), Refusal::no_token(None));
}

pub async fn a_bucket_refills_up_to_its_capacity(open: impl Fn(Options) -> Limiter) {
    // Full again within a microsecond.
    let rule = Rule {
        capacity: 2,
        rate: 1_000_000_000,
    };
    let (_limiter, core) = started(open, options(rule, 1));
    for _ in 0..100 {
        let filling = Stopwatch::start();
        while filling.elapsed() < Duration::from_micros(10) {
            yield_now().await;
        }
        let many = core.ask_many(Key::User("a".into()), 5).await;
        let passed = (0..5).filter(|nth| passes(&many.nth(*nth))).count();
        assert_eq!(passed, 2);
        assert_eq!(left(&many.nth(4)), 0);
        assert_eq!(refusal(&many.nth(4)).wait_ms, Some(1));
    }
}

pub async fn each_key_has_a_bucket_of_its_own(open: impl Fn(Options) -> Limiter) {
    let rule = Rule {
        capacity: 1,
        rate: 0,
    };
    let (_limiter, core) = started(open, options(rule, 1));
    let address = |text: &str| Key::Address(text.parse::<IpAddr>().unwrap());
    let keys = [
        Key::User("a".into()),
        Key::User("A".into()),
        Key::User("".into()),
        Key::User("192.0.2.1".into()),
        Key::User("leases".into()),
        address("192.0.2.1"),
        address("192.0.2.2"),
        address("2001:db8::"),
        address("2001:db8:0:1::"),
    ];
    for passing in [true, false] {
        for key in &keys {
            let one = core.ask_many(key.clone(), 1).await.nth(0);
            assert_eq!(passes(&one), passing, "{key:?}");
        }
    }
}

pub async fn beyond_the_slots_none_is_given_until_one_comes_back(
    open: impl Fn(Options) -> Limiter,
) {
    let (limiter, core) = started(open, options(RULE, 3));
    let mut held = join_all((0..5).map(|_| core.ask(SLOT))).await;
    let refused = held.split_off(3);
    assert!(held.iter().all(passes));
    for one in &refused {
        assert_eq!(refusal(one), Refusal::no_slot(true));
        assert_eq!(one.rate, None);
    }
    assert_eq!(limiter.figures().in_flight, 3);
    drop(refused);
    assert_eq!(limiter.figures().in_flight, 3);
    for _ in 0..10 {
        drop(held.pop());
        assert_eq!(limiter.figures().in_flight, 2);
        held.push(core.ask(SLOT).await);
        assert!(passes(&held[2]));
        assert!(!passes(&core.ask(SLOT).await));
    }
    drop(held);
    assert_eq!(limiter.figures().in_flight, 0);
}

pub async fn a_request_that_needs_both_is_refused_by_either_and_takes_neither(
    open: impl Fn(Options) -> Limiter,
) {
    let (limiter, core) = started(open, options(NEVER_REFILLED, 5));
    let held = join_all((0..8).map(|_| core.ask(of("a", true)))).await;
    assert_eq!(held.iter().filter(|held| passes(held)).count(), 5);
    assert_eq!(left(&held[4]), 15 * TOKEN);
    for refused in &held[5..] {
        assert_eq!(refusal(refused), Refusal::no_slot(true));
        assert_eq!(left(refused), 15 * TOKEN);
    }
    // Somebody else's token is not taken either.
    let other = core.ask(of("b", true)).await;
    assert_eq!(refusal(&other), Refusal::no_slot(true));
    assert_eq!(left(&other), 20 * TOKEN);
    drop(held);
    let plain = join_all((0..15).map(|_| core.ask(of("a", false)))).await;
    assert!(plain.iter().all(passes));
    let refused = core.ask(of("a", true)).await;
    assert_eq!(refusal(&refused), Refusal::no_token(None));
    // The slots are all there still.
    assert_eq!(limiter.figures().in_flight, 0);
    let slots = join_all((0..5).map(|_| core.ask(SLOT))).await;
    assert!(slots.iter().all(passes));
}

pub async fn who_lacks_both_is_told_of_both(open: impl Fn(Options) -> Limiter) {
    let rule = Rule {
        capacity: 1,
        rate: 0,
    };
    let (_limiter, core) = started(open, options(rule, 1));
    let held = core.ask(of("a", true)).await;
    assert!(passes(&held));
    let refused = core.ask(of("a", true)).await;
    let why = Refusal {
        in_flight: true,
        ..Refusal::no_token(None)
    };
    assert_eq!(refusal(&refused), why);
    drop(held);
    let refused = core.ask(of("a", true)).await;
    assert_eq!(refusal(&refused), Refusal::no_token(None));
}

pub async fn the_cores_of_a_server_share_its_limits(open: impl Fn(Options) -> Limiter) {
    let (limiter, one) = started(open, options(NEVER_REFILLED, 10));
    let other = limiter.core();
    other.start();
    let cores = [one, other];
    let asks = (0..30).map(|nth| cores[nth % 2].ask(of("a", false)));
    let passed = join_all(asks).await;
    assert_eq!(passed.iter().filter(|one| passes(one)).count(), 20);
    let held = join_all((0..30).map(|nth| cores[nth % 2].ask(SLOT))).await;
    assert_eq!(held.iter().filter(|held| passes(held)).count(), 10);
    assert_eq!(limiter.figures().in_flight, 10);
    drop(held);
    assert_eq!(limiter.figures().in_flight, 0);
    // Given back by one, had by the other: as soon as it is told.
    let mut again = vec![];
    while again.len() < 10 {
        let asked = cores[again.len() % 2].ask(SLOT).await;
        if passes(&asked) {
            again.push(asked);
        }
    }
}
