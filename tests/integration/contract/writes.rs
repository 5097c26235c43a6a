//! POST, PUT and DELETE without waiting: the 202, its headers, and reading one's own write.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{launch, shared};
use crate::harness::{Response, delete, get, id, post, put};

/// Checks all that a 202 promises and gives its body.
fn accepted(response: &Response, message: &str) -> Value {
    assert_eq!(response.status, 202, "{}", response.text());
    assert_eq!(response.must("Content-Type"), "application/json");
    let body = response.json();
    assert_eq!(body["message"], message);
    assert_eq!(body["status"], "queued");
    let position = response.must("Consistency-Token");
    let (partition, offset) = position.split_once('-').unwrap();
    assert!(
        partition.parse::<u16>().is_ok() && offset.parse::<u64>().is_ok(),
        "{position}"
    );
    assert_eq!(body["operation"], format!("/operations/{position}"));
    assert_eq!(response.must("Location"), format!("/operations/{position}"));
    assert_eq!(
        response.must("Content-Location"),
        format!("/todos/{}", id(&body))
    );
    body
}

#[test]
fn each_write_is_accepted_as_the_contract_says_and_read_back_by_its_token() {
    let server = shared();
    let mut alice = server.user("writes");
    let response = alice.ask(&post("/todos", &json!({ "title": "made" })));
    let body = accepted(&response, "Todo creation queued");
    assert_eq!(Uuid::parse_str(id(&body)).unwrap().get_version_num(), 7);
    let path = format!("/todos/{}", id(&body));
    let read = |of: &Response| get(&path).with("Consistency-Token", of.must("Consistency-Token"));
    assert_eq!(
        alice.ask(&read(&response)).expect(200).json()["title"],
        "made"
    );

    let draft = json!({ "title": "changed", "description": "d", "completed": true });
    let response = alice.ask(&put(&path, &draft));
    assert_eq!(accepted(&response, "Todo update queued")["id"], body["id"]);
    assert_eq!(
        alice.ask(&read(&response)).expect(200).json()["title"],
        "changed"
    );

    let response = alice.ask(&delete(&path));
    assert_eq!(
        accepted(&response, "Todo deletion queued")["id"],
        body["id"]
    );
    alice.ask(&read(&response)).problem(404);
}

#[test]
fn a_put_is_a_full_replacement() {
    let server = shared();
    let mut alice = server.user("replacement");
    let draft = json!({ "title": "t", "description": "gone soon" });
    let todo = alice
        .ask(&post("/todos", &draft).waiting())
        .expect(201)
        .json();
    let path = format!("/todos/{}", id(&todo));
    let done = json!({ "title": "t", "description": "d", "completed": true });
    alice.ask(&put(&path, &done).waiting()).expect(200);
    let bare = alice
        .ask(&put(&path, &json!({ "title": "t" })).waiting())
        .expect(200)
        .json();
    assert_eq!(bare["description"], "");
    assert_eq!(bare["completed"], false);
}

#[test]
fn a_token_makes_lists_include_the_write() {
    let server = shared();
    let mut alice = server.user("own writes");
    for n in 0..20 {
        let title = format!("own write {n}");
        let response = alice
            .ask(&post("/todos", &json!({ "title": title })))
            .expect(202);
        let token = response.must("Consistency-Token");
        // Through another connection, and so perhaps another core.
        let list = server
            .anyone()
            .ask(&get("/todos?limit=1000").with("Consistency-Token", token));
        let listed = list.expect(200).list();
        assert!(
            listed.iter().any(|todo| todo["title"] == title.as_str()),
            "{title}"
        );
    }
}

#[test]
fn a_token_from_the_future_is_503_in_time() {
    let server = shared();
    let mut anyone = server.anyone();
    let id = Uuid::now_v7();
    for target in ["/todos", "/todos?limit=1", &format!("/todos/{id}")] {
        let started = Instant::now();
        let response = anyone.ask(&get(target).with("Consistency-Token", "0-999999999"));
        response.problem(503);
        let retry_after: u32 = response.must("Retry-After").parse().unwrap();
        assert!(retry_after >= 1);
        let waited = started.elapsed();
        assert!(waited > Duration::from_secs(1), "gave up after {waited:?}");
        assert!(waited < Duration::from_secs(6), "waited {waited:?}");
    }
    let unknown_partition = get("/todos").with("Consistency-Token", "65535-0");
    let response = anyone.ask(&unknown_partition);
    response.problem(response.status);
    assert!(matches!(response.status, 400 | 503), "{}", response.status);
}

#[test]
fn a_malformed_token_is_400() {
    let server = shared();
    let mut anyone = server.anyone();
    for token in [
        "",
        "-",
        "0",
        "0-",
        "-0",
        "x-y",
        "00-1",
        "0-01",
        "0-+1",
        "0-1-2",
        "65536-0",
        "0-9223372036854775808",
        "0-99999999999999999999999999",
        "0 -1",
        "\"0-1\"",
    ] {
        let response = anyone.ask(&get("/todos").with("Consistency-Token", token));
        assert_eq!(response.status, 400, "{token:?}");
        response.problem_about(400, "Consistency-Token");
    }
}

#[test]
fn only_its_owner_changes_a_todo() {
    let server = shared();
    let (mut alice, mut mallory) = (server.user("owner"), server.user("mallory"));
    let todo = alice.create("mine");
    let path = format!("/todos/{}", id(&todo));
    let theirs = json!({ "title": "theirs" });
    mallory.ask(&put(&path, &theirs).waiting()).problem(404);
    mallory.ask(&delete(&path).waiting()).problem(404);
    let queued = mallory.ask(&delete(&path)).expect(202);
    let operation = mallory.outcome(&queued);
    assert_eq!(operation["status"], "rejected");
    assert_eq!(operation["problem"]["status"], 404);
    assert_eq!(alice.ask(&get(&path)).expect(200).json(), todo);
}

#[test]
fn creates_beyond_todos_max_are_507_until_there_is_room() {
    let server = launch().env("TODOS_MAX", "3").start();
    let mut alice = server.user("alice");
    let todos: Vec<Value> = (0..3).map(|n| alice.create(&format!("t{n}"))).collect();
    alice
        .ask(&post("/todos", &json!({ "title": "one too many" })))
        .problem(507);
    assert_eq!(alice.todos().len(), 3);
    alice
        .ask(&delete(&format!("/todos/{}", id(&todos[0]))).waiting())
        .expect(204);
    alice.create("fits again");
}
