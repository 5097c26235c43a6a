//! Heads and bodies beyond their limits: refused so that the client can read why.

use serde_json::json;

use super::abuse;
use crate::harness::{Connection, Ended, Launch, Request, Response, Server, get, post};
use crate::shared;

/// Sends all of it, however early the server refuses, and then reads the refusal.
#[track_caller]
fn refusal(server: &Server, method: &str, bytes: &[u8]) -> (Response, Connection) {
    let mut connection = server.connect();
    drop(connection.send(bytes));
    let refusal = connection.response(method).unwrap();
    (refusal, connection)
}

#[test]
fn an_oversized_head_is_431_that_can_be_read() {
    let server = shared();
    // The last is as much as the server promises to discard, less what it has read by then.
    for bytes in [17_000, 20_000, 65_536, 100_000, 200_000] {
        let big = "x".repeat(bytes);
        let long_value = format!("GET /todos HTTP/1.1\r\nHost: h\r\nX: {big}\r\n\r\n");
        let many: Vec<String> = (0..bytes / 100)
            .map(|n| format!("X-{n}: {n:0100}\r\n"))
            .collect();
        let many = many.concat();
        let many_fields = format!("GET /todos HTTP/1.1\r\nHost: h\r\n{many}\r\n");
        for head in [long_value, many_fields] {
            let (refusal, mut connection) = refusal(&server, "GET", head.as_bytes());
            refusal.problem(431);
            assert!(refusal.closes());
            assert_eq!(connection.end(), Ended::Closed, "{bytes}");
        }
    }
    server.anyone().ask(&get("/health")).expect(200);
}

#[test]
fn a_head_that_never_ends_is_refused_before_its_end() {
    let server = shared();
    let mut connection = server.connect();
    connection
        .send("GET /todos HTTP/1.1\r\nHost: h\r\nX: ")
        .unwrap();
    connection.send("x".repeat(20_000)).unwrap();
    connection.response("GET").unwrap().problem(431);
    assert_eq!(connection.end(), Ended::Closed);
}

#[test]
fn an_oversized_target_is_414_or_431() {
    let server = shared();
    for bytes in [17_000, 70_000, 200_000] {
        let head = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(bytes));
        let (refusal, _) = refusal(&server, "GET", head.as_bytes());
        assert!(matches!(refusal.status, 414 | 431), "{}", refusal.status);
        refusal.problem(refusal.status);
    }
}

#[test]
fn a_head_within_its_limit_is_served() {
    let server = shared();
    let mut anyone = server.anyone();
    for bytes in [1_000, 8_000, 16_000] {
        anyone
            .ask(&get("/todos?limit=1").with("X", &"x".repeat(bytes)))
            .expect(200);
    }
}

#[test]
fn the_head_limit_is_configurable() {
    let server = Launch::new().env("HEAD_LIMIT_BYTES", "32768").start();
    server
        .anyone()
        .ask(&get("/health").with("X", &"x".repeat(30_000)))
        .expect(200);
    let head = format!(
        "GET /health HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
        "x".repeat(33_000)
    );
    refusal(&server, "GET", head.as_bytes()).0.problem(431);
}

/// A create of exactly so many bytes.
fn create_of(bytes: usize) -> Request {
    let json = json!({ "title": "t", "description": "d" }).to_string();
    let padding = " ".repeat(bytes - json.len());
    Request::of("POST", "/todos").text_as_json(&format!("{json}{padding}"))
}

#[test]
fn a_body_may_have_64_kib_and_not_a_byte_more() {
    let server = shared();
    let mut alice = server.user("64 KiB");
    alice.ask(&create_of(65_536)).expect(202);
    for bytes in [65_537, 66_000, 100_000, 250_000] {
        let response = alice.ask(&create_of(bytes));
        assert_eq!(response.status, 413, "{bytes}");
        response.problem(413);
    }
    assert_eq!(alice.create("the next")["title"], "the next");
}

#[test]
fn a_declared_length_beyond_the_limit_is_refused_without_waiting_for_the_body() {
    let server = shared();
    let token = server.launch().token("declared");
    for length in ["65537", "10000000", "9223372036854775807"] {
        let head = format!(
            "POST /todos HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        let (refusal, mut connection) = refusal(&server, "POST", head.as_bytes());
        refusal.problem(413);
        assert!(refusal.closes(), "{length}");
        assert_eq!(connection.end(), Ended::Closed, "{length}");
    }
}

#[test]
fn chunks_beyond_the_limit_are_refused() {
    let server = shared();
    let token = server.launch().token("chunked");
    let head = format!(
        "POST /todos HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096));
    let body = format!("{}0\r\n\r\n", chunk.repeat(17));
    let (refusal, _) = refusal(&server, "POST", format!("{head}{body}").as_bytes());
    refusal.problem(413);
    let answers = abuse(&server, format!("{head}{body}"));
    assert_eq!(answers.status(), Some(413));
}

#[test]
fn the_body_limit_is_configurable() {
    let server = Launch::new().env("BODY_LIMIT_BYTES", "2000").start();
    let mut alice = server.user("alice");
    alice.ask(&create_of(2_000)).expect(202);
    alice.ask(&create_of(2_001)).problem(413);
}

#[test]
fn a_refused_body_is_not_taken_for_the_next_request() {
    let server = shared();
    let mut alice = server.user("refused body");
    let filler = json!({ "title": "x".repeat(70_000) });
    alice.ask(&post("/todos", &filler)).problem(413);
    // 401, 404, 405 and 415 are decided from the head; their bodies must not be read as requests.
    let inner = "GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
    for (method, target) in [
        ("POST", "/todos"),
        ("POST", "/nothing"),
        ("POST", "/health"),
    ] {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{inner}", inner.len());
        let answers = abuse(&server, request);
        assert_eq!(answers.answers.len(), 1, "{method} {target}");
        assert!(
            matches!(answers.status(), Some(401 | 404 | 405)),
            "{:?}",
            answers.status()
        );
    }
}
