//! Requests that are under way when the signal comes: in the backlog, half read, or waiting.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{SIGNALS, ends_well, server, until_it_listens_no_more};
use crate::harness::{Connection, Request, Server, get, post};

/// Sockets that the kernel holds for a server that is stopped: well within any backlog.
const IN_BACKLOG: usize = 64;

fn authorized(server: &Server, request: Request) -> Request {
    let token = format!("Bearer {}", server.launch().token("alice"));
    request.with("Authorization", &token)
}

fn create(server: &Server, title: &str) -> Request {
    authorized(server, post("/todos", &json!({ "title": title })))
}

#[test]
fn what_the_kernel_has_accepted_is_served() {
    for signal in SIGNALS {
        let mut server = server();
        server.signal("STOP");
        let mut connections: Vec<(Connection, Request)> = (0..IN_BACKLOG)
            .map(|n| match n % 3 {
                0 => get("/todos?limit=1"),
                1 => create(&server, &format!("{n}")),
                _ => create(&server, &format!("{n}")).waiting(),
            })
            .map(|request| (server.connect(), request))
            .collect();
        for (connection, request) in &mut connections {
            connection.send(request.bytes("h")).unwrap();
        }
        server.signal(signal);
        server.signal("CONT");
        for (connection, request) in &mut connections {
            let response = connection.response(request.method).unwrap();
            // Those who wait may be given their 202 instead.
            let status = response.status;
            assert!(matches!(status, 200..=202), "{}", response.text());
            // A thread may answer before the process has seen its signal; then this connection
            // is an idle one, with one last answer to come.
            if !response.closes() {
                until_it_listens_no_more(&server);
                let last = connection.ask(&get("/todos?limit=1")).unwrap();
                assert!(last.expect(200).closes());
            }
        }
        ends_well(&mut server);
        let written = IN_BACKLOG - IN_BACKLOG.div_ceil(3);
        assert_eq!(server.launch().start().anyone().todos().len(), written);
    }
}

#[test]
fn a_connection_in_the_backlog_may_speak_later() {
    let mut server = server();
    server.signal("STOP");
    let mut silent = server.connect();
    server.signal("TERM");
    server.signal("CONT");
    until_it_listens_no_more(&server);
    let response = silent.ask(&get("/todos")).unwrap().expect(200);
    assert!(response.closes());
    ends_well(&mut server);
}

#[test]
fn a_write_whose_body_is_under_way_gets_its_202() {
    for signal in SIGNALS {
        let mut server = server();
        let request = create(&server, "half read").with("Expect", "100-continue");
        let bytes = request.bytes("h");
        let body = request.body.as_ref().unwrap().len();
        let (head, body) = bytes.split_at(bytes.len() - body);
        let mut connection = server.connect();
        connection.send(head).unwrap();
        // Only now it is certain that the request has been received.
        connection.response("POST").unwrap().expect(100);
        connection.send(&body[..5]).unwrap();
        server.signal(signal);
        until_it_listens_no_more(&server);
        connection.send(&body[5..]).unwrap();
        let response = connection.response("POST").unwrap().expect(202);
        assert!(response.closes());
        ends_well(&mut server);
        let todos: Vec<Value> = server.launch().start().anyone().todos();
        assert_eq!(todos.len(), 1);
    }
}

#[test]
fn a_read_that_waits_for_its_token_is_answered() {
    for signal in SIGNALS {
        let mut server = server();
        let mut connection = server.connect();
        let request = get("/todos").with("Consistency-Token", "0-999999999");
        connection.send(request.bytes("h")).unwrap();
        server.anyone().ask(&get("/health")).expect(200);
        server.signal(signal);
        let response = connection.response("GET").unwrap();
        response.problem(503);
        assert!(response.closes());
        ends_well(&mut server);
    }
}

#[test]
fn a_request_that_waits_for_an_outcome_is_not_kept_to_the_end() {
    let mut server = server();
    let mut connection = server.connect();
    let request = authorized(
        &server,
        get("/operations/0-999999999").with("Prefer", "wait=30"),
    );
    connection.send(request.bytes("h")).unwrap();
    server.anyone().ask(&get("/health")).expect(200);
    let started = Instant::now();
    server.signal("TERM");
    let response = connection.response("GET").unwrap().expect(200);
    assert_eq!(response.json()["status"], "queued");
    assert!(response.closes());
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    ends_well(&mut server);
}
