//! Reads that pay, as many clients ask for them: in bursts, and through proxies that mix them.

use std::time::Duration;

use super::{limited, metric};
use crate::harness::redis::RedisServer;
use crate::harness::{Launch, PATIENCE, Response, Server, eventually, get, head};

const CAPACITY: u32 = 10;

/// Reads are limited by address, for ever.
fn by_address(redis: Option<&RedisServer>) -> Launch {
    let launch = limited(CAPACITY, 0)
        .env("RATE_LIMIT_SCOPE", "all")
        .env("TRUSTED_PROXIES", "127.0.0.1")
        .env("SERVER_CORES", "1");
    match redis {
        Some(redis) => launch
            .env("REDIS_URL", &redis.url())
            // A busy machine is not to be taken for an outage.
            .env("LIMITER_TIMEOUT_MS", "10000"),
        None => launch,
    }
}

/// Sends a read of each client in one write, all on one connection, and gives the answers.
fn pipelined(server: &Server, clients: &[&str]) -> Vec<Response> {
    let mut connection = server.connect();
    let authority = connection.authority();
    let read = |client: &&str| {
        let read = get("/todos?limit=3").with("X-Forwarded-For", client);
        read.bytes(&authority)
    };
    let requests: Vec<u8> = clients.iter().flat_map(read).collect();
    connection.send(requests).unwrap();
    let answer = |_| connection.response("GET").unwrap();
    let answers = clients.iter().map(answer).collect();
    // Who was refused may ask for something else.
    assert_eq!(connection.ask(&get("/health")).unwrap().status, 200);
    answers
}

fn hot_reads(server: &Server) -> u64 {
    metric(&mut server.anyone(), "http_hot_requests_total")
}

/// Has Redis answer no question until it is told to; the server has heard from it before.
fn pause(redis: &RedisServer, server: &Server) {
    server.anyone().ask(&get("/health")).expect(200);
    redis.command(&["CLIENT", "PAUSE", "60000", "WRITE"]);
}

/// Waits until a server of one core has read what was sent to it: it takes its connections in turn,
/// and a new one may be accepted behind the first.
fn has_read(server: &Server) {
    for _ in 0..2 {
        server.anyone().ask(&get("/health")).expect(200);
    }
}

/// The same of a server that counts for itself and of one that asks Redis.
fn of_both(test: impl Fn(&Server)) {
    test(&by_address(None).start());
    let redis = RedisServer::start();
    test(&by_address(Some(&redis)).start());
}

#[test]
fn of_a_pipelined_burst_passes_what_the_bucket_holds() {
    of_both(|server| {
        let answers = pipelined(server, &["192.0.2.1"; 25]);
        let passed = CAPACITY as usize;
        for (nth, answer) in answers.iter().enumerate() {
            let left = CAPACITY.saturating_sub(u32::try_from(nth).unwrap() + 1);
            assert_eq!(answer.must("X-RateLimit-Remaining"), format!("{left}.00"));
            let state = format!(r#""rate";r={left}"#);
            assert_eq!(answer.must("RateLimit"), state);
            if nth < passed {
                assert_eq!(answer.status, 200, "answer {nth}");
            } else {
                assert_eq!(answer.problem(429)["retry_after"], -1);
            }
        }
        assert_eq!(hot_reads(server), 25);
        let mut anyone = server.anyone();
        assert_eq!(metric(&mut anyone, "limiter_allowed_total"), 10);
        let throttled = metric(&mut anyone, r#"limiter_throttled_total{policy="rate"}"#);
        assert_eq!(throttled, 15);
        let refused = r#"http_requests_total{handler="todos",method="GET",status="429"}"#;
        assert_eq!(metric(&mut anyone, refused), 15);
    });
}

#[test]
fn on_a_proxys_connection_each_client_has_its_own_bucket() {
    of_both(|server| {
        let (one, other) = ("192.0.2.1", "8.8.8.8, 2001:db8::1");
        let mut clients = vec![one; 9];
        clients.extend([other, one, "2001:db8::2", one, one, other]);
        clients.extend([other; 9]);
        let answers = pipelined(server, &clients);
        let mut left = [CAPACITY; 2];
        for (client, answer) in clients.iter().zip(answers) {
            let own = &mut left[usize::from(*client != one)];
            let status = if *own > 0 { 200 } else { 429 };
            assert_eq!(answer.status, status, "{client}");
            *own = own.saturating_sub(1);
            let told = answer.must("X-RateLimit-Remaining");
            assert_eq!(told, format!("{own}.00"), "{client}");
        }
        assert_eq!(hot_reads(server), 24);
    });
}

#[test]
fn more_than_are_decided_together_are_answered_in_order() {
    of_both(|server| {
        let clients: Vec<String> = (0..700_u32)
            .map(|nth| format!("192.0.{}.1", nth / 20))
            .collect();
        let clients: Vec<&str> = clients.iter().map(String::as_str).collect();
        for (nth, answer) in pipelined(server, &clients).iter().enumerate() {
            let status = if nth % 20 < 10 { 200 } else { 429 };
            assert_eq!(answer.status, status, "answer {nth}");
        }
        assert_eq!(hot_reads(server), 700);
    });
}

#[test]
fn while_redis_is_asked_others_are_served_and_who_leaves_is_forgotten() {
    let redis = RedisServer::start();
    let server = by_address(Some(&redis)).start();
    pause(&redis, &server);
    let [mut leaver, mut patient] = [(); 2].map(|()| server.connect());
    let read = get("/todos").bytes(&patient.authority());
    leaver.send(read.repeat(3)).unwrap();
    patient.send(read.repeat(12)).unwrap();
    has_read(&server);
    assert_eq!(hot_reads(&server), 0, "a read was answered undecided");
    drop(leaver);
    redis.command(&["CLIENT", "UNPAUSE"]);
    let statuses: Vec<u16> = (0..12)
        .map(|_| patient.response("GET").unwrap().status)
        .collect();
    let passed = statuses.iter().take_while(|status| **status == 200).count();
    // What the leaver had asked for before it left is gone, or not.
    assert!((7..=10).contains(&passed), "{statuses:?}");
    assert!(statuses[passed..].iter().all(|status| *status == 429));
    eventually("the leaver's connection is gone", PATIENCE, || {
        let open = metric(&mut server.anyone(), "http_connections_open");
        // This one and the patient one.
        (open == 2).then_some(())
    });
    server.stop();
}

#[test]
fn where_nobody_can_tell_reads_are_treated_as_the_policy_says() {
    for (policy, status, source) in [
        ("closed", 503, None),
        ("open", 200, Some("open")),
        ("local", 200, Some("local")),
    ] {
        // A port that nobody listens to.
        let server = by_address(None)
            .env("REDIS_URL", "redis://127.0.0.1:9")
            .env("LIMITER_ON_FAILURE", policy)
            .start();
        for answer in pipelined(&server, &["192.0.2.1"; 3]) {
            assert_eq!(answer.status, status, "{policy}");
            assert_eq!(answer.header("X-RateLimit-Source"), source, "{policy}");
        }
        let asked = server.anyone().ask(&head("/todos"));
        assert_eq!(asked.status, status, "{policy}");
        assert_eq!(hot_reads(&server), 4);
        let mut anyone = server.anyone();
        assert_eq!(metric(&mut anyone, "limiter_without_redis_total"), 4);
    }
}

#[test]
fn a_drain_while_redis_is_asked_answers_and_closes() {
    let redis = RedisServer::start();
    let mut server = by_address(Some(&redis)).start();
    pause(&redis, &server);
    let mut connection = server.connect();
    let read = get("/todos").bytes(&connection.authority());
    connection.send(read).unwrap();
    has_read(&server);
    let mut other = server.connect();
    server.signal("TERM");
    eventually("the drain has begun", PATIENCE, || {
        let answer = other.ask(&get("/health")).unwrap();
        answer.closes().then_some(())
    });
    redis.command(&["CLIENT", "UNPAUSE"]);
    let answer = connection.response("GET").unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.closes());
    assert!(server.wait(Duration::from_secs(30)).success());
}
