//! `Idempotency-Key`: however often it is sent, one effect, one id, one outcome.

use std::thread;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{launch, shared};
use crate::harness::{Client, Request, delete, get, id, post, put};

fn keyed(request: Request, key: &str) -> Request {
    request.with("Idempotency-Key", key)
}

fn create(key: &str) -> Request {
    keyed(
        post("/todos", &json!({ "title": "keyed", "description": key })),
        key,
    )
}

/// How many todos carry the key in their description.
fn made_by(client: &mut Client, key: &str) -> usize {
    let todos = client.todos();
    todos
        .iter()
        .filter(|todo| todo["description"] == key)
        .count()
}

#[test]
fn a_create_sent_again_has_one_effect_and_one_id() {
    let server = shared();
    let mut alice = server.user("keyed create");
    let key = Uuid::now_v7().to_string();
    let first = alice.ask(&create(&key).waiting()).expect(201).json();
    assert_eq!(Uuid::parse_str(id(&first)).unwrap().get_version_num(), 5);
    let again = alice.ask(&create(&key).waiting()).expect(201).json();
    assert_eq!(again, first);
    let receipt = alice.ask(&create(&key)).expect(202);
    assert_eq!(receipt.json()["id"], first["id"]);
    assert_eq!(alice.outcome(&receipt)["status"], "applied");
    assert_eq!(made_by(&mut alice, &key), 1);
}

#[test]
fn duplicates_sent_at_once_have_one_effect() {
    let server = shared();
    let key = Uuid::now_v7().to_string();
    let ids: Vec<Value> = thread::scope(|scope| {
        let ask = || {
            let mut alice = server.user("keyed at once");
            alice.ask(&create(&key).waiting()).expect(201).json()["id"].clone()
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(made_by(&mut server.anyone(), &key), 1);
}

#[test]
fn a_key_survives_a_crash() {
    let server = launch().start();
    let first = server.user("alice").ask(&create("k")).expect(202).json();
    let server = server.kill().start();
    let mut alice = server.user("alice");
    let again = alice.ask(&create("k").waiting()).expect(201).json();
    assert_eq!(again["id"], first["id"]);
    assert_eq!(alice.todos().len(), 1);
}

#[test]
fn another_payload_under_the_same_key_is_422() {
    let server = shared();
    let mut alice = server.user("key reused");
    let key = Uuid::now_v7().to_string();
    alice.ask(&create(&key).waiting()).expect(201);
    let other = keyed(post("/todos", &json!({ "title": "another" })), &key);
    alice.ask(&other.clone().waiting()).problem(422);
    let receipt = alice.ask(&other).expect(202);
    let operation = alice.outcome(&receipt);
    assert_eq!(operation["status"], "rejected");
    assert_eq!(operation["problem"]["status"], 422);
    // The first payload still has its outcome.
    alice.ask(&create(&key).waiting()).expect(201);
}

#[test]
fn the_same_payload_in_another_spelling_is_the_same_payload() {
    let server = shared();
    let mut alice = server.user("canonical");
    let key = Uuid::now_v7().to_string();
    let spelled = |json: &str| {
        let request = Request::of("POST", "/todos").text_as_json(json);
        keyed(request, &key).waiting()
    };
    let first = alice
        .ask(&spelled(r#"{"title":"a/b","description":""}"#))
        .expect(201)
        .json();
    for same in [
        r#"{ "description" : "", "title" : "a/b" }"#,
        r#"{"title":"\u0061\/b"}"#,
        r#"{"title":"  a/b "}"#,
    ] {
        assert_eq!(
            alice.ask(&spelled(same)).expect(201).json()["id"],
            first["id"],
            "{same}"
        );
    }
}

#[test]
fn a_key_outlives_its_todo() {
    let server = shared();
    let mut alice = server.user("key outlives");
    let key = Uuid::now_v7().to_string();
    let todo = alice.ask(&create(&key).waiting()).expect(201).json();
    let path = format!("/todos/{}", id(&todo));
    alice.ask(&delete(&path).waiting()).expect(204);
    let receipt = alice.ask(&create(&key)).expect(202);
    assert_eq!(receipt.json()["id"], todo["id"]);
    assert_eq!(alice.outcome(&receipt)["status"], "applied");
    alice.ask(&get(&path)).problem(404);
    let waited = alice.ask(&create(&key).waiting());
    assert!(matches!(waited.status, 201 | 202), "{}", waited.text());
    assert_eq!(made_by(&mut alice, &key), 0);
}

#[test]
fn an_old_update_sent_again_does_not_undo_a_newer_one() {
    let server = shared();
    let mut alice = server.user("keyed update");
    let path = format!("/todos/{}", id(&alice.create("t")));
    let old = keyed(put(&path, &json!({ "title": "old" })), "old");
    let new = keyed(put(&path, &json!({ "title": "new" })), "new");
    alice.ask(&old.clone().waiting()).expect(200);
    alice.ask(&new.waiting()).expect(200);
    alice.ask(&old.waiting()).expect(200);
    assert_eq!(alice.ask(&get(&path)).json()["title"], "new");
}

#[test]
fn a_deletion_sent_again_has_the_first_outcome() {
    let server = shared();
    let mut alice = server.user("keyed delete");
    let path = format!("/todos/{}", id(&alice.create("t")));
    for _ in 0..3 {
        alice
            .ask(&keyed(delete(&path), "gone").waiting())
            .expect(204);
    }
    alice
        .ask(&keyed(delete(&path), "another key").waiting())
        .problem(404);
    for _ in 0..2 {
        alice
            .ask(&keyed(delete(&path), "another key").waiting())
            .problem(404);
    }
}

#[test]
fn quoted_and_bare_are_the_same_key() {
    let server = shared();
    let mut alice = server.user("quoted");
    let request = || post("/todos", &json!({ "title": "t" })).waiting();
    let bare = alice.ask(&keyed(request(), "a-key")).expect(201).json();
    let quoted = alice.ask(&keyed(request(), "\"a-key\"")).expect(201).json();
    assert_eq!(quoted, bare);
}

#[test]
fn a_key_counts_within_its_user_method_and_target() {
    let server = shared();
    let (mut alice, mut bob) = (server.user("scope a"), server.user("scope b"));
    let request = || keyed(post("/todos", &json!({ "title": "t" })), "shared").waiting();
    let first = alice.ask(&request()).expect(201).json();
    let second = bob.ask(&request()).expect(201).json();
    assert_ne!(first["id"], second["id"]);
    let other = alice.create("other");
    for todo in [&first, &other] {
        let path = format!("/todos/{}", id(todo));
        alice
            .ask(&keyed(put(&path, &json!({ "title": "new" })), "shared").waiting())
            .expect(200);
        alice
            .ask(&keyed(delete(&path), "shared").waiting())
            .expect(204);
    }
}

#[test]
fn a_key_has_1_to_255_characters() {
    let server = shared();
    let mut alice = server.user("key bounds");
    for long in [
        "k".to_owned(),
        "k".repeat(255),
        format!("\"{}\"", "q".repeat(255)),
    ] {
        alice
            .ask(&keyed(post("/todos", &json!({ "title": "t" })), &long))
            .expect(202);
    }
    for bad in [
        "",
        "\"\"",
        &"k".repeat(256),
        &format!("\"{}\"", "q".repeat(256)),
        "\"open",
    ] {
        let response = alice.ask(&keyed(post("/todos", &json!({ "title": "t" })), bad));
        assert_eq!(response.status, 400, "{bad:?}");
        response.problem_about(400, "Idempotency-Key");
    }
    let twice = keyed(keyed(post("/todos", &json!({ "title": "t" })), "a"), "b");
    alice.ask(&twice).problem(400);
}

#[test]
fn a_keyed_create_is_answered_again_when_the_table_is_full() {
    let server = launch().env("TODOS_MAX", "1").start();
    let mut alice = server.user("alice");
    let first = alice.ask(&create("k").waiting()).expect(201).json();
    let again = alice.ask(&create("k").waiting()).expect(201).json();
    assert_eq!(again, first);
    let receipt = alice.ask(&create("k")).expect(202).json();
    assert_eq!(receipt["id"], first["id"]);
    let unkeyed = post("/todos", &json!({ "title": "t" }));
    alice.ask(&unkeyed).problem(507);
    alice.ask(&unkeyed.waiting()).problem(507);
    assert_eq!(alice.todos(), [first]);
}
