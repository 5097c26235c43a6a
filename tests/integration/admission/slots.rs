//! In-flight slots: held for as long as a request is, and by nobody who is gone.

use std::time::Duration;

use serde_json::json;

use super::metric;
use crate::harness::redis::RedisServer;
use crate::harness::{Connection, Fleet, Launch, Request, Server, eventually};

/// Slots of all servers together.
const SLOTS: usize = 3;
/// A deadline that a busy machine keeps, or it would be taken for an outage.
const DEADLINE: Duration = Duration::from_secs(1);
/// Time for which a lease lives with it.
const LEASE: Duration = Duration::from_secs(4);
/// Time in which a dead server's slots are back: its lease, and what a busy machine adds.
const LEASE_OVER: Duration = LEASE.saturating_add(Duration::from_secs(2));
const SOON: Duration = Duration::from_secs(10);

fn launch(redis: Option<&RedisServer>) -> Launch {
    let launch = Launch::new()
        .env("RATE_LIMIT_CAPACITY", &SLOTS.to_string())
        .env("LIMITER_TIMEOUT_MS", &DEADLINE.as_millis().to_string());
    match redis {
        Some(redis) => launch.env("REDIS_URL", &redis.url()),
        None => launch,
    }
}

/// A claim whose body does not come: it is in flight until the connection ends.
fn hold(server: &Server) -> Option<Connection> {
    let mut connection = Connection::open(server.address());
    let token = server.launch().token("alice");
    let head = format!(
        "POST /gift-codes HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\n12345",
        connection.authority()
    );
    let before = in_flight(server);
    connection.send(head).unwrap();
    connection.patience(Duration::from_millis(10));
    let is_held = eventually("the claim is held or refused", SOON, || {
        if in_flight(server) > before {
            return Some(true);
        }
        let response = connection.response("POST").ok()?;
        assert_eq!(response.status, 429, "{}", response.text());
        Some(false)
    });
    is_held.then_some(connection)
}

fn claim(server: &Server) -> u16 {
    let claim = Request::of("POST", "/gift-codes");
    server.user("bob").ask(&claim).status
}

fn in_flight(server: &Server) -> u64 {
    metric(&mut server.anyone(), "limiter_in_flight")
}

/// Holds every slot as soon as it is free. A dead server's come back a core at a time, since each
/// has a lease of its own.
fn hold_all(server: &Server, many: usize, within: Duration) -> Vec<Connection> {
    let hold_one = |_| eventually("a slot is free", within, || hold(server));
    (0..many).map(hold_one).collect()
}

fn wait_until_free(server: &Server, within: Duration) {
    eventually("a slot is free", within, || {
        (claim(server) == 200).then_some(())
    });
}

#[test]
fn beyond_the_slots_a_claim_is_refused_and_who_leaves_makes_room() {
    for redis in [None, Some(RedisServer::start())] {
        let server = launch(redis.as_ref()).start();
        let mut held: Vec<_> = (0..SLOTS).map(|_| hold(&server).unwrap()).collect();
        assert_eq!(in_flight(&server), SLOTS as u64);
        let refused = server.user("bob").ask(&Request::of("POST", "/gift-codes"));
        let problem = refused.problem(429);
        assert_eq!(problem["detail"], "too many in-flight requests");
        assert_eq!(problem["violated-policies"], json!(["inflight"]));
        assert_eq!(refused.must("Retry-After"), "1");
        let policy = r#""inflight";q=3;qu="concurrent-requests""#;
        assert_eq!(refused.must("RateLimit-Policy"), policy);
        drop(held.pop());
        wait_until_free(&server, SOON);
        drop(held);
        eventually("no slot is in use", SOON, || {
            (in_flight(&server) == 0).then_some(())
        });
    }
}

#[test]
fn the_slots_are_those_of_all_servers_and_a_killed_ones_come_back() {
    let redis = RedisServer::start();
    let doomed = launch(Some(&redis)).start();
    let other = launch(Some(&redis)).start();
    let held = [hold(&doomed).unwrap(), hold(&doomed).unwrap()];
    let third = hold(&other).unwrap();
    assert!(hold(&other).is_none());
    doomed.kill();
    let back = hold_all(&other, held.len(), LEASE_OVER);
    assert_eq!(claim(&other), 429);
    drop((held, back, third));
    eventually("no slot is in use", SOON, || {
        (in_flight(&other) == 0).then_some(())
    });
}

#[test]
fn a_server_that_slept_past_its_lease_counts_nothing_twice() {
    let redis = RedisServer::start();
    let sleeper = launch(Some(&redis)).start();
    let other = launch(Some(&redis)).start();
    let asleep: Vec<_> = (0..SLOTS).map(|_| hold(&sleeper).unwrap()).collect();
    assert_eq!(claim(&other), 429);
    sleeper.signal("STOP");
    let taken = hold_all(&other, SLOTS, LEASE_OVER);
    sleeper.signal("CONT");
    // It still has three in flight and no lease for them: neither server may admit another.
    assert_eq!((claim(&sleeper), claim(&other)), (429, 429));
    drop(asleep);
    eventually("the sleeper has none", SOON, || {
        (in_flight(&sleeper) == 0).then_some(())
    });
    assert_eq!(claim(&sleeper), 429, "the other one's are not given away");
    drop(taken);
    eventually("the other has none", SOON, || {
        (in_flight(&other) == 0).then_some(())
    });
    wait_until_free(&sleeper, SOON);
    let both = [&sleeper, &other];
    let again = (0..SLOTS).map(|nth| eventually("a slot is free", SOON, || hold(both[nth % 2])));
    let again: Vec<_> = again.collect();
    assert_eq!(claim(&other), 429);
    drop(again);
}

#[test]
fn while_redis_is_away_each_server_has_its_share_of_the_slots_and_says_so() {
    let mut redis = RedisServer::start();
    let servers = [0; 2].map(|_| launch(Some(&redis)).start());
    for server in &servers {
        eventually("the servers know each other", SOON, || {
            (metric(&mut server.anyone(), "limiter_servers") > 1).then_some(())
        });
    }
    redis.kill();
    // Of three slots, one for each.
    for server in &servers {
        let held = hold(server).unwrap();
        let refused = server.user("bob").ask(&Request::of("POST", "/gift-codes"));
        refused.problem(429);
        let policy = r#""inflight";q=1;qu="concurrent-requests""#;
        assert_eq!(refused.must("RateLimit-Policy"), policy);
        assert_eq!(refused.must("X-RateLimit-Source"), "local");
        drop(held);
    }
}

#[test]
fn who_leaves_while_a_claim_waits_for_its_code_frees_the_slot_at_once() {
    // Nobody works: a claim waits for far longer than the test.
    let fleet = Fleet::new()
        .env("RATE_LIMIT_CAPACITY", "1")
        .env("KAFKA_GIFT_CODE_TIMEOUT", "300");
    // Whole, and with a part of the next request behind it; with one of those in hand, hyper does not
    // look whether the client is there.
    for (hot_path, behind) in [("on", ""), ("on", "GET /todos HTTP"), ("off", "")] {
        let server = fleet.launch.clone().env("HOT_PATH", hot_path).start();
        let token = format!("Bearer {}", server.launch().token("alice"));
        let claim = Request::of("POST", "/gift-codes").with("Authorization", &token);
        let mut connection = server.connect();
        let mut bytes = claim.bytes(&connection.authority());
        bytes.extend(behind.as_bytes());
        connection.send(bytes).unwrap();
        eventually("the claim is in flight", SOON, || {
            (in_flight(&server) == 1).then_some(())
        });
        drop(connection);
        eventually("the slot is free", SOON, || {
            (in_flight(&server) == 0).then_some(())
        });
    }
}

#[test]
fn after_much_coming_and_going_no_slot_is_in_use() {
    let redis = RedisServer::start();
    let servers = [launch(Some(&redis)).start(), launch(Some(&redis)).start()];
    for round in 0..60 {
        let server = &servers[round % 2];
        let mut connection = server.connect();
        let token = server.launch().token("alice");
        let body = if round % 3 == 0 { "" } else { "1234567890" };
        let head = format!(
            "POST /gift-codes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\n{body}"
        );
        connection.send(head).unwrap();
    }
    for server in &servers {
        eventually("no slot is in use", SOON, || {
            (in_flight(server) == 0).then_some(())
        });
    }
    // The last to leave are told to Redis a moment after they have left.
    let held: Vec<_> = (0..SLOTS)
        .map(|nth| eventually("a slot is free", SOON, || hold(&servers[nth % 2])))
        .collect();
    assert!(hold(&servers[0]).is_none());
    drop(held);
}
