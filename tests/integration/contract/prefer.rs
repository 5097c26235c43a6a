//! `Prefer: wait=N`: the outcome instead of the receipt.

use serde_json::json;
use uuid::Uuid;

use super::shared;
use crate::harness::{Request, delete, get, id, post, put};

fn waiting_10(request: Request) -> Request {
    request.with("Prefer", "wait=10")
}

#[test]
fn a_create_that_waits_is_201_with_the_todo() {
    let server = shared();
    let mut alice = server.user("prefer create");
    let draft = json!({ "title": "t", "description": "d" });
    let response = alice.ask(&waiting_10(post("/todos", &draft))).expect(201);
    assert_eq!(response.must("Preference-Applied"), "wait=10");
    let todo = response.json();
    let path = format!("/todos/{}", id(&todo));
    assert_eq!(alice.ask(&get(&path)).expect(200).json(), todo);
}

#[test]
fn an_update_that_waits_is_200_with_the_todo() {
    let server = shared();
    let mut alice = server.user("prefer update");
    let path = format!("/todos/{}", id(&alice.create("t")));
    let draft = json!({ "title": "new", "completed": true });
    let response = alice.ask(&waiting_10(put(&path, &draft))).expect(200);
    assert_eq!(response.must("Preference-Applied"), "wait=10");
    assert_eq!(response.json()["title"], "new");
    assert_eq!(alice.ask(&get(&path)).expect(200).json(), response.json());
}

#[test]
fn a_deletion_that_waits_is_204() {
    let server = shared();
    let mut alice = server.user("prefer delete");
    let path = format!("/todos/{}", id(&alice.create("t")));
    let response = alice.ask(&waiting_10(delete(&path))).expect(204);
    assert_eq!(response.must("Preference-Applied"), "wait=10");
    assert!(response.body.is_empty());
    alice.ask(&get(&path)).problem(404);
    alice.ask(&waiting_10(delete(&path))).problem(404);
}

#[test]
fn a_write_to_nothing_that_waits_is_404() {
    let server = shared();
    let mut alice = server.user("prefer nothing");
    let path = format!("/todos/{}", Uuid::now_v7());
    let response = alice.ask(&waiting_10(put(&path, &json!({ "title": "t" }))));
    response.problem(404);
    assert_eq!(response.must("Preference-Applied"), "wait=10");
    alice.ask(&waiting_10(delete(&path))).problem(404);
}

#[test]
fn the_same_write_that_does_not_wait_is_rejected_in_its_operation() {
    let server = shared();
    let mut alice = server.user("prefer not");
    let path = format!("/todos/{}", Uuid::now_v7());
    let accepted = alice.ask(&put(&path, &json!({ "title": "t" }))).expect(202);
    assert_eq!(accepted.header("Preference-Applied"), None);
    let operation = alice.outcome(&accepted);
    assert_eq!(operation["status"], "rejected");
    assert_eq!(operation["problem"]["status"], 404);
}

#[test]
fn wait_is_found_among_other_preferences() {
    let server = shared();
    let mut alice = server.user("prefer lists");
    for prefer in [
        "return=minimal, wait=10",
        "wait=10; foo=bar",
        "WAIT=10",
        "wait=\"10\"",
        "handling=lenient ,wait=10",
    ] {
        let request = post("/todos", &json!({ "title": "t" })).with("Prefer", prefer);
        assert_eq!(alice.ask(&request).status, 201, "{prefer}");
    }
}

#[test]
fn preferences_that_make_no_sense_are_not_errors() {
    let server = shared();
    let mut alice = server.user("prefer nonsense");
    for prefer in [
        "wait",
        "wait=",
        "wait=-1",
        "wait=abc",
        "wait=0",
        "wait=31",
        "wait=99999999999999999999",
        "foo",
        "",
        "=",
        ";;;",
        "respond-async, wait=1",
    ] {
        let request = post("/todos", &json!({ "title": "t" })).with("Prefer", prefer);
        let status = alice.ask(&request).status;
        assert!(matches!(status, 201 | 202), "{prefer:?}: {status}");
    }
}
