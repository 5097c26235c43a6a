//! A Redis with a replica and a sentinel: who is the primary decides, whoever it was before.

use std::time::Duration;

use super::{limited, metric, pass_of, write};
use crate::harness::redis::{PRIMARY, RedisServer};
use crate::harness::{Server, eventually};

const CAPACITY: u32 = 30;
/// From a failover until the new primary decides: it is noticed, chosen and connected to.
const SOON: Duration = Duration::from_mins(1);

/// Whether it has the user's bucket.
fn knows(redis: &RedisServer, user: &str) -> bool {
    redis.command(&["EXISTS", &format!("tb:user:{user}")])[0] == "1"
}

/// Waits until `redis` is the primary, the other one is not, and it decides for the server.
#[track_caller]
fn decides(redis: &RedisServer, other: Option<&RedisServer>, server: &Server) {
    // Who was the primary hears of it last.
    eventually("there is one primary, and another one", SOON, || {
        let there_is_another = other.map_or(Some(false), RedisServer::is_primary)?;
        (redis.is_primary()? && !there_is_another).then_some(())
    });
    eventually("it decides", SOON, || {
        let is_away = metric(&mut server.anyone(), "limiter_cores_without_redis") > 0;
        let asked = server.user("who looks").ask(&write());
        (!is_away && asked.header("X-RateLimit-Source").is_none()).then_some(())
    });
}

/// Just so many pass, and `redis` knows of them.
#[track_caller]
fn counts(redis: &RedisServer, server: &Server, user: &str) {
    assert!(!knows(redis, user));
    let passed = pass_of(&mut server.user(user), 2 * CAPACITY as usize);
    assert_eq!(passed, CAPACITY as usize);
    assert!(knows(redis, user));
}

#[test]
fn after_a_failover_the_new_primary_decides() {
    let first = RedisServer::start();
    let mut second = RedisServer::replica_of(&first);
    let sentinel = RedisServer::sentinel_of(&first);
    eventually("the sentinel knows both", SOON, || {
        let replicas = sentinel.command(&["SENTINEL", "REPLICAS", PRIMARY]);
        (!replicas.is_empty()).then_some(())
    });
    let server = limited(CAPACITY, 0)
        .env("REDIS_URL", &sentinel.sentinel_url())
        .env("LIMITER_TIMEOUT_MS", "2000")
        .env("SERVER_CORES", "1")
        .start();
    decides(&first, Some(&second), &server);
    counts(&first, &server, "alice");
    eventually("the replica has it", SOON, || {
        knows(&second, "alice").then_some(())
    });

    // In good order: the connection may stay, and then leads to who is a replica now.
    eventually("the sentinel sets about it", SOON, || {
        let told = sentinel.command(&["SENTINEL", "FAILOVER", PRIMARY]);
        (told == ["OK"]).then_some(())
    });
    decides(&second, Some(&first), &server);
    counts(&second, &server, "bob");
    assert_eq!(pass_of(&mut server.user("alice"), 5), 0, "she has had hers");

    // And in none: the primary dies.
    first.is_a_copy_within(SOON);
    second.kill();
    decides(&first, None, &server);
    counts(&first, &server, "carol");
}
