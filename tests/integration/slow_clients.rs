//! Slow clients: what keeps its deadline is served, what does not is closed, others never notice.

mod parked;
mod readers;
mod room;

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Connection, Ended, Launch, eventually, get, passes, post};

/// The deadline under test in most of these.
const DEADLINE: &str = "1s";

/// When a connection with a deadline of a second must be gone: late only by the machine's load.
const GONE: Duration = Duration::from_secs(15);

/// A pause of a client that is slow but not too slow.
const PACE: Duration = Duration::from_millis(2);

fn pause() {
    passes(PACE);
}

#[test]
fn a_dribbled_head_is_served_within_its_deadline() {
    let server = Launch::new().env("HEAD_TIMEOUT", "60s").start();
    let mut connection = server.connect();
    for byte in get("/todos?limit=1").bytes(&connection.authority()) {
        connection.send([byte]).unwrap();
        pause();
    }
    connection.response("GET").unwrap().expect(200);
}

/// Waits until the server gives the connection up. It may say 408 before.
#[track_caller]
fn given_up(connection: &mut Connection, started: Instant) {
    match connection.response("GET") {
        Ok(response) => {
            response.problem(408);
            assert!(response.closes());
            assert_ne!(connection.end(), Ended::TimedOut);
        }
        Err(Ended::Closed | Ended::Reset) => {}
        Err(ended) => panic!("{ended:?}"),
    }
    let lasted = started.elapsed();
    assert!(
        lasted > Duration::from_millis(500),
        "closed after {lasted:?}"
    );
    assert!(lasted < GONE, "closed after {lasted:?}");
}

#[test]
fn a_stalled_head_is_closed_while_others_are_served() {
    let server = Launch::new().env("HEAD_TIMEOUT", DEADLINE).start();
    for begun in [
        "G",
        "GET /todos HTTP/1.1\r\n",
        "GET /todos HTTP/1.1\r\nHost: h\r\nX: y\r\n",
    ] {
        let started = Instant::now();
        let mut connection = server.connect();
        connection.send(begun).unwrap();
        server.anyone().ask(&get("/health")).expect(200);
        given_up(&mut connection, started);
    }
}

#[test]
fn a_head_that_trickles_for_ever_is_closed() {
    let server = Launch::new().env("HEAD_TIMEOUT", DEADLINE).start();
    let started = Instant::now();
    let mut connection = server.connect();
    connection
        .send("GET /todos HTTP/1.1\r\nHost: h\r\n")
        .unwrap();
    // The deadline is the head's, not the byte's. A closed connection refuses bytes in the end.
    eventually("the server closes", GONE, || {
        connection.send("X: y\r\n").err()
    });
    assert!(started.elapsed() > Duration::from_millis(500));
}

#[test]
fn a_head_after_a_head_has_the_same_deadline() {
    let launch = Launch::new()
        .env("HEAD_TIMEOUT", DEADLINE)
        .env("IDLE_TIMEOUT", "60s");
    let server = launch.start();
    let mut connection = server.connect();
    connection.ask(&get("/todos?limit=1")).unwrap().expect(200);
    let started = Instant::now();
    connection.send("GET /todos HTTP/1.1\r\n").unwrap();
    given_up(&mut connection, started);
}

#[test]
fn a_stalled_body_is_closed_and_has_no_effect() {
    let server = Launch::new().env("BODY_TIMEOUT", DEADLINE).start();
    let token = format!("Bearer {}", server.launch().token("alice"));
    let request = post("/todos", &json!({ "title": "t" })).with("Authorization", &token);
    let bytes = request.bytes("h");
    for missing in [1, 5, 13] {
        let started = Instant::now();
        let mut connection = server.connect();
        connection.send(&bytes[..bytes.len() - missing]).unwrap();
        server.anyone().ask(&get("/health")).expect(200);
        given_up(&mut connection, started);
    }
    assert_eq!(server.anyone().todos(), [json!(null); 0]);
}

#[test]
fn a_stalled_body_that_nobody_wants_is_not_waited_for_any_longer() {
    for hot_path in ["on", "off"] {
        let launch = Launch::new()
            .env("HOT_PATH", hot_path)
            .env("BODY_TIMEOUT", DEADLINE)
            .env("IDLE_TIMEOUT", "60s");
        let server = launch.start();
        let bytes = post("/todos", &json!({ "title": "t" })).bytes("h");
        let started = Instant::now();
        let mut connection = server.connect();
        connection.send(&bytes[..bytes.len() - 5]).unwrap();
        connection.response("POST").unwrap().problem(401);
        assert_eq!(connection.end(), Ended::Closed);
        assert!(started.elapsed() < GONE);
    }
}

#[test]
fn an_idle_connection_is_closed() {
    let server = Launch::new().env("IDLE_TIMEOUT", DEADLINE).start();
    let mut connection = server.connect();
    connection.ask(&get("/health")).unwrap().expect(200);
    let started = Instant::now();
    assert_eq!(connection.end(), Ended::Closed);
    assert!(started.elapsed() < GONE);
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let launch = Launch::new()
        .env("IDLE_TIMEOUT", DEADLINE)
        .env("HEAD_TIMEOUT", DEADLINE);
    let server = launch.start();
    let started = Instant::now();
    given_up(&mut server.connect(), started);
}
