//! What holds for every answer: request ids, keep-alive, pipelining, problems.

use serde_json::json;
use uuid::Uuid;

use super::shared;
use crate::harness::{Request, delete, get, id, post};

#[test]
fn a_request_id_of_the_clients_is_echoed() {
    let server = shared();
    let mut alice = server.user("request ids");
    let path = format!("/todos/{}", id(&alice.create("t")));
    for target in [
        "/todos",
        "/todos?limit=1",
        &path,
        "/health",
        "/nothing",
        "/todos?limit=0",
    ] {
        for id in ["a", "A-Z.0_9", &"x".repeat(64)] {
            let response = alice.ask(&get(target).with("X-Request-Id", id));
            assert_eq!(response.must("X-Request-Id"), id, "{target}");
        }
    }
}

#[test]
fn a_request_id_that_is_not_plain_is_replaced() {
    let server = shared();
    let mut anyone = server.anyone();
    for bad in [
        &"x".repeat(65),
        "",
        "a b",
        "a\"b",
        "<script>",
        "a,b",
        "a/b",
        "caf\u{e9}",
        "%41",
    ] {
        let response = anyone.ask(&get("/nothing").with("X-Request-Id", bad));
        let id = response.must("X-Request-Id");
        assert_ne!(id, bad);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        assert!(
            (1..=64).contains(&id.len()) && id.bytes().all(plain),
            "{id}"
        );
        response.problem(404);
    }
}

#[test]
fn every_request_gets_an_id_of_its_own() {
    let server = shared();
    let mut anyone = server.anyone();
    let mut ids: Vec<String> = (0..50)
        .map(|_| anyone.ask(&get("/nothing")).must("X-Request-Id").to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
}

#[test]
fn plain_list_reads_carry_an_id_only_if_the_client_sent_one() {
    let server = shared();
    let mut alice = server.user("no request id");
    let receipt = alice
        .ask(&post("/todos", &json!({ "title": "t" })))
        .expect(202);
    for target in ["/todos", "/todos?limit=1"] {
        let plain = alice.ask(&get(target)).expect(200);
        assert_eq!(plain.header("X-Request-Id"), None, "{target}");
        let token = receipt.must("Consistency-Token");
        let with_token = alice
            .ask(&get(target).with("Consistency-Token", token))
            .expect(200);
        with_token.must("X-Request-Id");
    }
    let newest = alice.todos()[0].clone();
    let with_cursor = format!("/todos?limit=1&after={}", id(&newest));
    alice
        .ask(&get(&with_cursor))
        .expect(200)
        .must("X-Request-Id");
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = shared();
    let mut connection = server.connect();
    let authority = connection.authority();
    let targets = [
        "/health",
        "/todos?limit=0",
        "/nothing",
        "/todos?limit=1",
        "/ready",
    ];
    let mut expected = vec![];
    let mut bytes = vec![];
    for n in 0..100 {
        let target = targets[n % targets.len()];
        let id = format!("id-{n}");
        bytes.extend(get(target).with("X-Request-Id", &id).bytes(&authority));
        let status = [200, 400, 404, 200, 200][n % targets.len()];
        expected.push((status, id));
    }
    connection.send(&bytes).unwrap();
    for (status, id) in expected {
        let response = connection.response("GET").unwrap().expect(status);
        assert_eq!(response.must("X-Request-Id"), id);
    }
}

#[test]
fn a_connection_is_kept_unless_the_client_says_close() {
    let server = shared();
    let mut connection = server.connect();
    for target in ["/health", "/todos", "/nothing"] {
        assert!(!connection.ask(&get(target)).unwrap().closes(), "{target}");
    }
    let last = connection
        .ask(&get("/todos").with("Connection", "close"))
        .unwrap();
    assert!(last.closes());
    assert_eq!(connection.end(), crate::harness::Ended::Closed);
}

#[test]
fn a_problem_tells_an_error_from_another() {
    let server = shared();
    let mut alice = server.user("problems");
    let not_found = alice
        .ask(&get(&format!("/todos/{}", Uuid::now_v7())))
        .problem(404);
    let malformed = alice.ask(&get("/todos?limit=0")).problem(400);
    let invalid = alice
        .ask(&post("/todos", &json!({ "title": "" })))
        .problem(422);
    let unauthorized = server
        .anyone()
        .ask(&post("/todos", &json!({})))
        .problem(401);
    let titles: Vec<_> = [not_found, malformed, invalid, unauthorized]
        .iter()
        .map(|problem| problem["title"].as_str().unwrap().to_owned())
        .collect();
    for (n, title) in titles.iter().enumerate() {
        assert!(!titles[..n].contains(title), "{titles:?}");
    }
}

#[test]
fn problems_are_kept_by_no_cache() {
    let server = shared();
    let mut alice = server.user("no-store");
    let nowhere = format!("/todos/{}", Uuid::now_v7());
    for (request, status) in [
        (get("/nothing"), 404),
        (get(&nowhere), 404),
        (get("/todos?limit=0"), 400),
        (Request::of("PATCH", "/todos"), 405),
        (get("/operations/x"), 404),
        (get("/todos").with("Host", "twice"), 400),
        (post("/todos", &json!({ "title": 1 })), 400),
        (post("/todos", &json!({ "title": "" })), 422),
        (post("/todos", &json!({})).with("Authorization", "x"), 401),
        (delete(&nowhere).waiting(), 404),
    ] {
        let response = alice.ask(&request);
        response.problem(status);
        let caching = response.header("Cache-Control");
        assert_eq!(caching, Some("no-store"), "{status} {request:?}");
    }
    let mut connection = server.connect();
    connection.send("no HTTP at all\r\n\r\n").unwrap();
    let response = connection.response("GET").unwrap();
    response.problem(400);
    assert_eq!(response.must("Cache-Control"), "no-store");
}
