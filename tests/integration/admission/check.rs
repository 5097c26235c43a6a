//! `millpond limiter-check`: whether a Redis can hold the limits.

use crate::harness::Launch;
use crate::harness::redis::RedisServer;

#[track_caller]
fn check(launch: &Launch) -> (Option<i32>, String) {
    let output = launch.run(&["limiter-check"]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn a_good_redis_is_found_good() {
    let redis = RedisServer::start();
    let launch = Launch::new();
    let file = launch.home().join("redis-url");
    std::fs::write(&file, format!("{}\n", redis.url())).unwrap();
    let launch = launch
        .env("REDIS_URL_FILE", file.to_str().unwrap())
        .env("LIMITER_TIMEOUT_MS", "2000");
    let (code, said) = check(&launch);
    assert_eq!(code, Some(0), "{said}");
    for line in ["buckets: good", "in-flight slots: good", "a call: p50 "] {
        assert!(said.contains(line), "{said}");
    }
    // What it made ends with its time.
    let left = redis.command(&["DBSIZE"]).concat();
    assert!(left.parse::<u32>().unwrap() <= 3, "{left} keys are left");
}

#[test]
fn a_redis_that_cannot_hold_the_limits_is_told_from_one_that_is_not_there() {
    let mut redis = RedisServer::start();
    let launch = Launch::new()
        .env("REDIS_URL", &redis.url())
        .env("LIMITER_TIMEOUT_MS", "2000");
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let (code, said) = check(&launch);
    assert_ne!(code, Some(0), "{said}");
    assert!(said.contains("READONLY"), "{said}");
    redis.kill();
    let (code, said) = check(&launch);
    assert_ne!(code, Some(0), "{said}");
    assert!(said.contains("not connected"), "{said}");
    let (code, said) = check(&Launch::new());
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("REDIS_URL"), "{said}");
}
