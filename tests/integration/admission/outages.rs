//! Redis away: every request is decided in bounded time, each policy does what it says, clients and
//! operators see it, and it ends by itself.

use std::time::{Duration, Instant};

use super::{limited, metric, pass_of, write};
use crate::harness::redis::RedisServer;
use crate::harness::{Client, Gate, Launch, Server, eventually};

/// Far longer than an answer takes on a busy machine.
const DEADLINE: Duration = Duration::from_millis(400);
const SOON: Duration = Duration::from_secs(20);

/// Writes of one user never come back, so that every one that passes is seen.
fn launch(url: &str, policy: &str) -> Launch {
    limited(30, 0)
        .env("JWT_SECRET", "of all servers: one secret of one fleet")
        .env("REDIS_URL", url)
        .env("LIMITER_TIMEOUT_MS", &DEADLINE.as_millis().to_string())
        .env("LIMITER_ON_FAILURE", policy)
        .env("SERVER_CORES", "1")
}

/// A server that has heard from Redis.
fn serving(redis: &RedisServer, policy: &str) -> Server {
    let server = launch(&redis.url(), policy).start();
    let first = server.user("first").ask(&write());
    assert_eq!(first.header("X-RateLimit-Source"), None);
    server
}

fn is_away(server: &Server) -> bool {
    metric(&mut server.anyone(), "limiter_cores_without_redis") > 0
}

/// Waits until Redis decides.
#[track_caller]
fn decides_again(server: &Server) {
    eventually("Redis decides", SOON, || (!is_away(server)).then_some(()));
}

/// The statuses of `count` writes, and how long each took, in order of time.
fn timed(client: &mut Client, count: usize) -> (Vec<u16>, Vec<Duration>) {
    let mut statuses = vec![];
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let asked = Instant::now();
            statuses.push(client.ask(&write()).status);
            asked.elapsed()
        })
        .collect();
    times.sort_unstable();
    (statuses, times)
}

/// Nobody waits for longer than twice the deadline, and once it is known, nobody waits at all.
#[track_caller]
fn bounded(times: &[Duration]) {
    let p99 = times[times.len() * 99 / 100];
    let longest = times[times.len() - 1];
    assert!(longest < 2 * DEADLINE, "{longest:?}");
    assert!(p99 < DEADLINE, "{p99:?}: nobody waits once it is known");
    let median = times[times.len() / 2];
    assert!(median < DEADLINE / 8, "{median:?}");
}

#[test]
fn a_killed_redis_leaves_each_key_its_share_of_what_was_left() {
    let mut redis = RedisServer::start();
    let server = serving(&redis, "local");
    let mut alice = server.user("alice");
    assert_eq!(pass_of(&mut alice, 10), 10);
    redis.kill();
    let (statuses, times) = timed(&mut alice, 200);
    bounded(&times);
    // It is the only server, so all that Redis had left is its own, and a token that was asked for
    // and never answered at most is lost.
    let passed = statuses.iter().filter(|status| **status == 404).count();
    assert_eq!(passed, 20);
    assert!(statuses[20..].iter().all(|status| *status == 429));
    let refused = alice.ask(&write());
    assert_eq!(refused.must("X-RateLimit-Source"), "local");
    assert!(is_away(&server));
    assert!(metric(&mut alice, "limiter_without_redis_total") >= 200);

    redis.start_again();
    decides_again(&server);
    let decided = alice.ask(&write());
    assert_eq!(decided.header("X-RateLimit-Source"), None);
    assert_eq!(decided.must("X-RateLimit-Remaining"), "29.00");
}

#[test]
fn while_redis_is_away_servers_share_the_limit() {
    let mut redis = RedisServer::start();
    let servers = [0; 2].map(|_| serving(&redis, "local"));
    for server in &servers {
        eventually("the servers know each other", SOON, || {
            (metric(&mut server.anyone(), "limiter_servers") > 1).then_some(())
        });
    }
    redis.kill();
    for server in &servers {
        let mut bob = server.user("bob");
        assert_eq!(pass_of(&mut bob, 40), 15);
        assert_eq!(bob.ask(&write()).must("X-RateLimit-Capacity"), "15");
    }
}

#[test]
fn what_is_left_is_shared_as_each_server_heard_of_it_last() {
    let mut redis = RedisServer::start();
    let [first, second] = [0; 2].map(|_| serving(&redis, "local"));
    for server in [&first, &second] {
        eventually("the servers know each other", SOON, || {
            (metric(&mut server.anyone(), "limiter_servers") > 1).then_some(())
        });
    }
    // The tokens of both are the same user's.
    let token = first.launch().token("carol");
    let [mut first, mut second] =
        [&first, &second].map(|server| Client::new(server.address(), Some(token.clone())));
    assert_eq!(pass_of(&mut first, 10), 10);
    assert_eq!(pass_of(&mut second, 1), 1);
    redis.kill();
    // Of 20 that were left, and of 19.
    assert_eq!((pass_of(&mut first, 40), pass_of(&mut second, 40)), (10, 9));
}

#[test]
fn open_lets_all_pass_and_closed_none_and_both_at_once() {
    let redis = RedisServer::start();
    let open = serving(&redis, "open");
    let closed = serving(&redis, "closed");
    redis.signal("STOP");
    let mut alice = open.user("alice");
    let (statuses, times) = timed(&mut alice, 200);
    bounded(&times);
    assert!(statuses.iter().all(|status| *status == 404));
    assert_eq!(alice.ask(&write()).must("X-RateLimit-Source"), "open");

    let mut alice = closed.user("alice");
    let (statuses, times) = timed(&mut alice, 200);
    bounded(&times);
    assert!(statuses.iter().all(|status| *status == 503));
    let refused = alice.ask(&write());
    assert_eq!(refused.must("Retry-After"), "1");
    assert_eq!(refused.problem(503)["outcome"], "not_enqueued");

    redis.signal("CONT");
    for server in [&open, &closed] {
        decides_again(server);
        assert!(pass_of(&mut server.user("bob"), 1) == 1);
    }
}

#[test]
fn a_server_starts_without_redis_and_finds_it_later() {
    let mut redis = RedisServer::start();
    redis.kill();
    let server = launch(&redis.url(), "closed").start();
    assert_eq!(server.user("alice").ask(&write()).status, 503);
    redis.start_again();
    decides_again(&server);
    assert_eq!(pass_of(&mut server.user("alice"), 31), 30);
}

#[test]
fn a_redis_that_answers_too_late_is_as_good_as_away() {
    let redis = RedisServer::start();
    let server = serving(&redis, "local");
    let mut alice = server.user("alice");
    // Scripts are writes: they wait, while the connection is fine and PING would be answered.
    redis.command(&["CLIENT", "PAUSE", "3000", "WRITE"]);
    let (statuses, times) = timed(&mut alice, 200);
    bounded(&times);
    assert!(statuses.iter().all(|status| matches!(status, 404 | 429)));
    decides_again(&server);
}

#[test]
fn a_network_that_swallows_answers_keeps_nobody_waiting() {
    let redis = RedisServer::start();
    let gate = Gate::silent_before(&redis.address().to_string());
    gate.open();
    let server = launch(&format!("redis://{}", gate.address()), "open").start();
    let mut alice = server.user("alice");
    assert_eq!(pass_of(&mut alice, 20), 20);
    gate.lose_answers();
    let (statuses, times) = timed(&mut alice, 600);
    bounded(&times);
    assert!(statuses.iter().all(|status| matches!(status, 404 | 429)));
    assert!(is_away(&server));
}

#[test]
fn a_connection_that_is_dead_without_a_word_is_made_anew() {
    let redis = RedisServer::start();
    let gate = Gate::silent_before(&redis.address().to_string());
    gate.open();
    let server = launch(&format!("redis://{}", gate.address()), "local").start();
    let mut alice = server.user("alice");
    assert_eq!(pass_of(&mut alice, 5), 5);
    gate.strand();
    eventually("it is noticed", SOON, || is_away(&server).then_some(()));
    decides_again(&server);
    assert_eq!(alice.ask(&write()).header("X-RateLimit-Source"), None);
}

#[test]
fn a_redis_that_takes_no_writes_is_as_good_as_away() {
    let redis = RedisServer::start();
    let server = serving(&redis, "local");
    // As a primary is that was demoted without its connections being cut.
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let mut alice = server.user("alice");
    let (statuses, times) = timed(&mut alice, 200);
    bounded(&times);
    assert!(statuses.iter().all(|status| matches!(status, 404 | 429)));
    assert!(is_away(&server));
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    decides_again(&server);
}

#[test]
fn a_redis_that_is_silent_at_the_start_keeps_nobody_waiting() {
    let redis = RedisServer::start();
    let gate = Gate::silent_before(&redis.address().to_string());
    let server = launch(&format!("redis://{}", gate.address()), "open").start();
    let mut alice = server.user("alice");
    let (statuses, times) = timed(&mut alice, 200);
    bounded(&times);
    assert!(statuses.iter().all(|status| *status == 404));
    gate.open();
    decides_again(&server);
    assert_eq!(pass_of(&mut server.user("bob"), 31), 30);
}
