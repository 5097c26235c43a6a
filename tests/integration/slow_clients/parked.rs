//! Connections that come back from a while of silence, parked meanwhile, or that never end a head.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{DEADLINE, given_up, pause};
use crate::harness::{Connection, Launch, Request, Server, get, post};

/// Longer than a connection has to be idle to be parked.
const WHILE: Duration = Duration::from_millis(1_500);

/// A connection that has been idle for a while after its first answer.
fn parked(server: &Server) -> Connection {
    let mut connection = server.connect();
    connection.ask(&get("/todos?limit=1")).unwrap().expect(200);
    connection.stays_silent(WHILE);
    connection
}

fn create(server: &Server, title: &str) -> Request {
    let token = format!("Bearer {}", server.launch().token("alice"));
    post("/todos", &json!({ "title": title }))
        .with("Authorization", &token)
        .waiting()
}

#[test]
fn a_parked_connection_serves_reads_and_writes() {
    let server = Launch::new().start();
    let mut connection = parked(&server);
    connection.ask(&get("/todos")).unwrap().expect(200);
    connection.stays_silent(WHILE);
    connection
        .ask(&create(&server, "after a while"))
        .unwrap()
        .expect(201);
    connection.stays_silent(WHILE);
    let todos = connection.ask(&get("/todos")).unwrap().expect(200).list();
    assert_eq!(todos[0]["title"], "after a while");
}

#[test]
fn a_connection_that_was_parked_before_its_first_request_serves_it() {
    let server = Launch::new().start();
    let mut connection = server.connect();
    connection.stays_silent(WHILE);
    connection.ask(&get("/todos")).unwrap().expect(200);
}

#[test]
fn a_parked_connection_serves_a_pipeline() {
    let server = Launch::new().start();
    let mut connection = parked(&server);
    let requests: Vec<Request> = (0..8)
        .map(|n| match n % 2 {
            0 => get("/todos?limit=1").with("X-Request-Id", &format!("read-{n}")),
            _ => create(&server, "t").with("X-Request-Id", &format!("write-{n}")),
        })
        .collect();
    let bytes: Vec<u8> = requests
        .iter()
        .flat_map(|request| request.bytes("h"))
        .collect();
    connection.send(bytes).unwrap();
    for request in &requests {
        let response = connection.response(request.method).unwrap();
        let status = if request.method == "GET" { 200 } else { 201 };
        let (_, sent_id) = &request.headers[request.headers.len() - 1];
        assert_eq!(response.must("X-Request-Id"), sent_id);
        response.expect(status);
    }
}

#[test]
fn a_parked_connection_takes_a_request_in_cuts() {
    let server = Launch::new().start();
    let mut connection = parked(&server);
    let bytes = create(&server, "in cuts").bytes("h");
    for first in [1, 2, 15, bytes.len() - 1] {
        let (begin, rest) = bytes.split_at(first);
        connection.send(begin).unwrap();
        for part in rest.chunks(31) {
            pause();
            connection.send(part).unwrap();
        }
        connection.response("POST").unwrap().expect(201);
        connection.stays_silent(WHILE);
    }
}

#[test]
fn half_a_head_in_the_segment_of_a_whole_one_has_its_deadline() {
    let launch = Launch::new()
        .env("HEAD_TIMEOUT", DEADLINE)
        .env("IDLE_TIMEOUT", "60s");
    let server = launch.start();
    for half in ["G", "GET /todos HTTP/1.1\r\nHost: h\r\n"] {
        let mut connection = server.connect();
        let mut bytes = get("/todos?limit=1").bytes("h");
        bytes.extend(half.as_bytes());
        let started = Instant::now();
        connection.send(bytes).unwrap();
        connection.response("GET").unwrap().expect(200);
        // Long before it would be closed for being idle.
        given_up(&mut connection, started);
    }
}

#[test]
fn a_stray_line_end_after_a_request_begins_no_head() {
    let launch = Launch::new()
        .env("HEAD_TIMEOUT", DEADLINE)
        .env("IDLE_TIMEOUT", "60s");
    let server = launch.start();
    for together in [true, false] {
        let mut connection = server.connect();
        let mut bytes = get("/todos?limit=1").bytes("h");
        if together {
            bytes.extend(b"\r\n");
        }
        connection.send(bytes).unwrap();
        connection.response("GET").unwrap().expect(200);
        if !together {
            connection.send("\r\n").unwrap();
        }
        connection.stays_silent(Duration::from_millis(2_500));
        connection.ask(&get("/todos?limit=1")).unwrap().expect(200);
    }
}
