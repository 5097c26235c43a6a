//! `GET /operations/{P-O}`: what became of a write.

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::{launch, shared};
use crate::harness::{delete, get, post};

/// A position that no test reaches.
const FAR: &str = "/operations/0-999999999";

#[test]
fn an_applied_write_is_applied_for_everyone() {
    let server = shared();
    let mut alice = server.user("operations");
    let receipt = alice
        .ask(&post("/todos", &json!({ "title": "t" })))
        .expect(202);
    let operation = alice.outcome(&receipt);
    assert_eq!(operation["status"], "applied");
    let position = receipt.must("Consistency-Token");
    assert!(
        operation["operation"].as_str().unwrap().ends_with(position),
        "{operation}"
    );
    assert!(operation.get("problem").is_none(), "{operation}");
    let seen = server
        .user("another")
        .ask(&get(receipt.must("Location")))
        .expect(200);
    assert_eq!(seen.json()["status"], "applied");
}

#[test]
fn a_problem_is_shown_to_its_user_only() {
    let server = shared();
    let mut alice = server.user("operations problem");
    let path = format!("/todos/{}", Uuid::now_v7());
    let receipt = alice.ask(&delete(&path)).expect(202);
    let operation = alice.outcome(&receipt);
    assert_eq!(operation["problem"]["status"], 404);
    assert!(operation["problem"]["title"].is_string(), "{operation}");
    let seen = server.user("another").ask(&get(receipt.must("Location")));
    assert!(matches!(seen.status, 200 | 404), "{}", seen.status);
    assert!(
        seen.status == 404 || seen.json().get("problem").is_none(),
        "{}",
        seen.text()
    );
}

#[test]
fn a_gift_code_is_shown_to_its_user_only() {
    let server = shared();
    let mut alice = server.user("operations gift");
    let request = post("/gift-codes", &json!({})).with("Prefer", "respond-async");
    let receipt = alice.ask(&request).expect(202);
    let operation = alice.outcome(&receipt);
    assert_eq!(operation["status"], "applied");
    let code = alice
        .ask(&post("/gift-codes", &json!({})))
        .expect(200)
        .json();
    let code = code["gift_code"].as_str().unwrap();
    assert!(
        operation["result"].to_string().contains(code),
        "{operation}"
    );
    let seen = server.user("another").ask(&get(receipt.must("Location")));
    assert!(!seen.text().contains(code), "{}", seen.text());
    assert!(!seen.text().contains("GIFT-"), "{}", seen.text());
}

#[test]
fn what_lies_above_the_mark_is_queued() {
    let server = shared();
    let mut alice = server.user("operations far");
    let response = alice.ask(&get(FAR)).expect(200);
    assert_eq!(response.json()["status"], "queued");
    assert_eq!(response.must("Retry-After"), "1");
}

#[test]
fn waiting_for_what_does_not_come_ends_in_time() {
    let server = shared();
    let mut alice = server.user("operations wait");
    let started = Instant::now();
    let response = alice.ask(&get(FAR).with("Prefer", "wait=1")).expect(200);
    let waited = started.elapsed();
    assert_eq!(response.json()["status"], "queued");
    assert_eq!(response.must("Preference-Applied"), "wait=1");
    assert!(
        waited >= Duration::from_millis(900),
        "waited only {waited:?}"
    );
    assert!(waited < Duration::from_secs(10), "waited {waited:?}");
}

#[test]
fn outcomes_survive_a_crash() {
    let server = launch().start();
    let mut alice = server.user("alice");
    let applied = alice
        .ask(&post("/todos", &json!({ "title": "t" })))
        .expect(202);
    let rejected = alice
        .ask(&delete(&format!("/todos/{}", Uuid::now_v7())))
        .expect(202);
    let server = server.kill().start();
    let mut alice = server.user("alice");
    assert_eq!(alice.outcome(&applied)["status"], "applied");
    let rejected = alice.outcome(&rejected);
    assert_eq!(rejected["status"], "rejected");
    assert_eq!(rejected["problem"]["status"], 404);
}

#[test]
fn operations_are_for_users() {
    let server = shared();
    server.anyone().ask(&get("/operations/0-0")).problem(401);
}

#[test]
fn what_is_no_position_is_no_operation() {
    let server = shared();
    let mut alice = server.user("operations malformed");
    for position in [
        "", "x", "0", "0-", "-1", "00-0", "0-x", "0-0-0", "99999-0", "0-%30", "0-1/",
    ] {
        let response = alice.ask(&get(&format!("/operations/{position}")));
        let sound = position == "0-%30" && response.status == 200;
        assert!(
            sound || matches!(response.status, 400 | 404),
            "{position:?}: {}",
            response.status
        );
    }
}

#[test]
fn operations_are_kept_by_no_cache() {
    let server = shared();
    let mut alice = server.user("operations no-store");
    let receipt = alice
        .ask(&post("/todos", &json!({ "title": "t" })))
        .expect(202);
    alice.outcome(&receipt);
    for target in [receipt.must("Location"), "/operations/0-999999999"] {
        let response = alice.ask(&get(target)).expect(200);
        assert_eq!(response.must("Cache-Control"), "no-store", "{target}");
    }
}
