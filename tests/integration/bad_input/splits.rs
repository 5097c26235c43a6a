//! TCP has no messages: a request may come in any cuts, several may come in one.

use std::thread;

use rand::RngExt;
use serde_json::json;

use crate::harness::{Connection, Ended, Request, Server, dice, get, post};
use crate::shared;

/// A create that waits, so that its answer shows that all of it was understood.
fn create(server: &Server, title: &str) -> Request {
    let token = format!("Bearer {}", server.launch().token("splits"));
    post("/todos", &json!({ "title": title }))
        .with("Authorization", &token)
        .waiting()
}

/// Sends the parts in writes of their own, each with a chance to be read alone.
fn send_in_parts<'a>(connection: &mut Connection, parts: impl IntoIterator<Item = &'a [u8]>) {
    for part in parts {
        connection.send(part).unwrap();
        thread::yield_now();
    }
}

#[test]
fn a_write_may_be_cut_anywhere() {
    let server = shared();
    let mut connection = server.connect();
    let request = create(&server, "cut").bytes(&connection.authority());
    for cut in 1..request.len() {
        let (head, tail) = request.split_at(cut);
        send_in_parts(&mut connection, [head, tail]);
        let response = connection.response("POST");
        assert_eq!(
            response.map(|response| response.status),
            Ok(201),
            "cut at {cut}"
        );
    }
}

#[test]
fn a_read_may_be_cut_anywhere() {
    let server = shared();
    let mut connection = server.connect();
    let read = get("/todos?limit=1").with("Accept-Encoding", "identity");
    let request = read.bytes(&connection.authority());
    for cut in 1..request.len() {
        let (head, tail) = request.split_at(cut);
        send_in_parts(&mut connection, [head, tail]);
        let response = connection.response("GET");
        assert_eq!(
            response.map(|response| response.status),
            Ok(200),
            "cut at {cut}"
        );
    }
}

#[test]
fn every_byte_may_come_alone() {
    let server = shared();
    let mut connection = server.connect();
    let request = create(&server, "bytes").bytes(&connection.authority());
    send_in_parts(&mut connection, request.chunks(1));
    let response = connection.response("POST").unwrap().expect(201);
    assert_eq!(response.json()["title"], "bytes");
}

#[test]
fn reads_and_writes_may_come_together_in_random_cuts() {
    let server = shared();
    let mut dice = dice();
    for round in 0..20 {
        let mut connection = server.connect();
        let authority = connection.authority();
        let mut bytes = vec![];
        let mut expected = vec![];
        for n in 0..20 {
            if dice.random() {
                let title = format!("random {round} {n}");
                bytes.extend(create(&server, &title).bytes(&authority));
                expected.push((201, Some(title)));
            } else {
                bytes.extend(get("/todos?limit=2").bytes(&authority));
                expected.push((200, None));
            }
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (part, tail) = rest.split_at(dice.random_range(1..=rest.len().min(700)));
            send_in_parts(&mut connection, [part]);
            rest = tail;
        }
        for (status, title) in expected {
            let response = connection.response("GET").unwrap().expect(status);
            if let Some(title) = title {
                assert_eq!(response.json()["title"], title);
            }
        }
    }
}

#[test]
fn a_client_that_goes_away_in_the_middle_disturbs_nobody() {
    let server = shared();
    let authority = server.address().to_string();
    let request = create(&server, "gone in the middle").bytes(&authority);
    for cut in (1..request.len()).step_by(3) {
        let mut connection = server.connect();
        connection.send(&request[..cut]).unwrap();
        drop(connection);
    }
    server.anyone().ask(&get("/health")).expect(200);
    let todos = server.anyone().todos();
    assert!(
        todos
            .iter()
            .all(|todo| todo["title"] != "gone in the middle")
    );
}

#[test]
fn a_request_that_ends_early_is_closed_without_effect() {
    let server = shared();
    let authority = server.address().to_string();
    let request = create(&server, "ended early").bytes(&authority);
    for cut in (0..request.len()).step_by(7) {
        let mut connection = server.connect();
        connection.send(&request[..cut]).unwrap();
        connection.finish();
        if let Ok(response) = connection.response("POST") {
            response.problem(400);
        }
        assert_ne!(connection.end(), Ended::TimedOut, "cut at {cut}");
    }
    let todos = server.anyone().todos();
    assert!(todos.iter().all(|todo| todo["title"] != "ended early"));
}
