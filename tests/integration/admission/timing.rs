//! How long a decision takes while Redis is away, measured where it is taken: in a core of the
//! limiter, asked at a rate that no machine finds hard. `outages` has the same from a client's side.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use millpond::limit::{Ask, By, Core, Key, Limiter, OnFailure, Options, Redis, Rule, Verdict};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::harness::Gate;
use crate::harness::redis::RedisServer;

/// In which Redis answers, or is taken for away: long enough for a busy machine to keep it.
const DEADLINE: Duration = Duration::from_millis(100);
/// A decision's longest time while Redis is away and known to be.
const OPEN_MAX: Duration = Duration::from_millis(2);
/// Between two questions.
const EVERY: Duration = Duration::from_millis(2);
/// Outages of each kind: one has only so many questions until it is known.
const ROUNDS: usize = 4;
/// Questions of each outage after it is known.
const OPEN_ASKS: usize = 250;
/// In which an outage is known, and in which its end is.
const SOON: Duration = Duration::from_secs(20);
/// Time in which an answer comes that is slow and not too late.
const SLOW: Duration = Duration::from_millis(60);
/// Keys that ask at once: many calls' worth.
const CROWD: usize = 5_000;

/// What one question came to.
struct Told {
    /// Whether Redis was known to be away when it was asked.
    is_open: bool,
    took: Duration,
    by: By,
    passes: bool,
}

/// One core of a server.
struct Asked {
    limiter: Limiter,
    core: Rc<Core>,
}

impl Asked {
    /// One that has heard from Redis.
    async fn of(url: &str, on_failure: OnFailure) -> Self {
        let asked = Self::starting(url, on_failure);
        asked.decides_again().await;
        asked
    }

    /// One that has not heard of Redis yet.
    fn starting(url: &str, on_failure: OnFailure) -> Self {
        let options = Options {
            rate: Rule {
                capacity: 1_000_000,
                rate: 1_000_000,
            },
            slots_max: 1_000_000,
            bucket_prefix: String::new(),
            on_failure,
            timeout: DEADLINE,
        };
        let limiter = Limiter::Redis(Redis::new(url, options).unwrap());
        let core = Rc::new(limiter.core());
        core.start();
        Self { limiter, core }
    }

    fn is_open(&self) -> bool {
        self.limiter.figures().cores_without_redis > 0
    }

    /// Waits until Redis decides.
    async fn decides_again(&self) {
        within(SOON, async {
            let mut tick = interval(EVERY);
            while self.ask(0).await.by != By::Whole {
                tick.tick().await;
            }
        })
        .await;
    }

    /// A token, a slot, or both in turn.
    async fn ask(&self, nth: usize) -> Told {
        let (pays, slot) = [(true, false), (false, true), (true, true)][nth % 3];
        let key = pays.then(|| Key::User(nth.to_string().into()));
        let (is_open, asked) = (self.is_open(), Instant::now());
        let decision = self.core.ask(Ask { key, slot }).await;
        Told {
            is_open,
            took: asked.elapsed(),
            by: decision.by,
            passes: matches!(decision.verdict, Verdict::Admitted(_)),
        }
    }

    /// Asks at a steady rate until enough was asked of what is known to be away.
    async fn ask_through(self: &Rc<Self>) -> Vec<Told> {
        let told = Rc::new(RefCell::new(vec![]));
        let mut asks = JoinSet::new();
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = 0;
        for nth in 0.. {
            tick.tick().await;
            open += usize::from(self.is_open());
            if open > OPEN_ASKS {
                break;
            }
            let (asked, told) = (Rc::clone(self), Rc::clone(&told));
            asks.spawn_local(async move {
                let one = asked.ask(nth).await;
                told.borrow_mut().push(one);
            });
        }
        asks.join_all().await;
        told.take()
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(time, work).await;
    done.unwrap_or_else(|_| panic!("not within {time:?}"))
}

/// Runs a test as a serving core runs: one thread, and tasks that stay on it.
fn run(test: impl Future<Output = ()>) {
    millpond::runtime::single_threaded_local()
        .unwrap()
        .block_on(test);
}

fn p99<'a>(told: impl Iterator<Item = &'a Told>) -> Duration {
    let mut times: Vec<Duration> = told.map(|one| one.took).collect();
    times.sort_unstable();
    assert!(!times.is_empty(), "nothing was asked");
    times[(times.len() - 1) * 99 / 100]
}

/// Several outages, begun and ended by `set`, seen from one core with that policy.
fn outages(url: &str, on_failure: OnFailure, mut set: impl FnMut(bool)) {
    run(async {
        let asked = Rc::new(Asked::of(url, on_failure).await);
        let mut told = vec![];
        for _ in 0..ROUNDS {
            set(true);
            told.extend(within(SOON, asked.ask_through()).await);
            set(false);
            asked.decides_again().await;
        }
        let learning = p99(told.iter().filter(|one| !one.is_open));
        let open = p99(told.iter().filter(|one| one.is_open));
        eprintln!("p99 {learning:?} while it is learnt, {open:?} once it is known");
        assert!(learning < 2 * DEADLINE, "{learning:?} while it is learnt");
        assert!(open < OPEN_MAX, "{open:?} once it is known");
        let (by, passes) = match on_failure {
            OnFailure::Local => (By::Share, true),
            OnFailure::Open => (By::Policy, true),
            OnFailure::Closed => (By::Policy, false),
        };
        let mut known = told.iter().filter(|one| one.is_open);
        assert!(known.all(|one| (one.by, one.passes) == (by, passes)));
    });
}

const POLICIES: [OnFailure; 3] = [OnFailure::Local, OnFailure::Open, OnFailure::Closed];

#[test]
fn a_redis_that_is_stopped_holds_nobody_up() {
    for policy in POLICIES {
        let redis = RedisServer::start();
        outages(&redis.url(), policy, |is_away| {
            redis.signal(if is_away { "STOP" } else { "CONT" });
        });
    }
}

#[test]
fn a_redis_that_is_killed_and_refuses_holds_nobody_up() {
    for policy in POLICIES {
        let mut redis = RedisServer::start();
        let url = redis.url();
        outages(&url, policy, |is_away| {
            if is_away {
                redis.kill();
            } else {
                redis.start_again();
            }
        });
    }
}

/// The way to a Redis, open.
fn gate_before(redis: &RedisServer) -> (Gate, String) {
    let gate = Gate::silent_before(&redis.address().to_string());
    gate.open();
    let url = format!("redis://{}", gate.address());
    (gate, url)
}

/// Outages of the way to a Redis.
fn outages_on_the_way(goes_wrong: impl Fn(&Gate)) {
    let redis = RedisServer::start();
    for policy in POLICIES {
        let (gate, url) = gate_before(&redis);
        outages(&url, policy, |is_away| {
            if is_away {
                goes_wrong(&gate);
            } else {
                gate.open();
            }
        });
    }
}

#[test]
fn a_network_that_loses_answers_holds_nobody_up() {
    outages_on_the_way(Gate::lose_answers);
}

#[test]
fn answers_that_come_too_late_hold_nobody_up() {
    outages_on_the_way(|gate| gate.lengthen(3 * DEADLINE));
}

#[test]
fn a_redis_that_is_silent_at_the_start_holds_nobody_up() {
    let redis = RedisServer::start();
    let gate = Gate::silent_before(&redis.address().to_string());
    run(async {
        let started = Instant::now();
        let asked = Asked::starting(&format!("redis://{}", gate.address()), OnFailure::Open);
        let told = join_all((0..30).map(|nth| asked.ask(nth))).await;
        let took = started.elapsed();
        assert!(took < 2 * DEADLINE, "{took:?}");
        assert!(told.iter().all(|one| one.by == By::Policy && one.passes));
        gate.open();
        asked.decides_again().await;
    });
}

#[test]
fn behind_slow_answers_nobody_waits_for_longer_than_two_of_them_may_take() {
    let redis = RedisServer::start();
    let (gate, url) = gate_before(&redis);
    run(async {
        let asked = Asked::of(&url, OnFailure::Local).await;
        gate.lengthen(SLOW);
        for _ in 0..ROUNDS {
            // More than fits in the calls that can be made in time.
            let told = join_all((0..CROWD).map(|nth| asked.ask(nth))).await;
            let longest = p99(told.iter());
            assert!(longest < 2 * DEADLINE, "{longest:?}");
            assert!(told.iter().all(|one| one.passes));
        }
    });
}
