//! `GET /todos`, `?limit=N` and `GET /todos/{id}`.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{launch, shared};
use crate::harness::{get, head, id, post, put};

#[test]
fn an_empty_table_is_an_empty_array() {
    let server = launch().start();
    let response = server.anyone().ask(&get("/todos")).expect(200);
    assert_eq!(response.text(), "[]");
    assert_eq!(response.must("Content-Type"), "application/json");
}

#[test]
fn all_todos_are_listed_newest_first() {
    let server = launch().start();
    let mut alice = server.user("alice");
    let created: Vec<Value> = (0..20).map(|n| alice.create(&format!("t{n}"))).collect();
    let mut expected = created;
    expected.reverse();
    assert_eq!(server.anyone().todos(), expected);
}

#[test]
fn a_limit_gives_the_first_of_the_list() {
    let server = launch().start();
    let mut alice = server.user("alice");
    for n in 0..5 {
        alice.create(&format!("t{n}"));
    }
    let all = alice.todos();
    for limit in [1, 2, 4, 5, 6, 1_000_000] {
        let response = alice
            .ask(&get(&format!("/todos?limit={limit}")))
            .expect(200);
        assert_eq!(response.list(), all[..all.len().min(limit)]);
        assert_eq!(
            response.header("Link").is_some(),
            limit < all.len(),
            "{limit}"
        );
    }
}

#[test]
fn a_todo_is_read_alone_as_it_stands_in_the_list() {
    let server = shared();
    let mut alice = server.user("reads");
    let created = alice.create("alone");
    let read = alice
        .ask(&get(&format!("/todos/{}", id(&created))))
        .expect(200);
    assert_eq!(read.must("Content-Type"), "application/json");
    assert_eq!(read.json(), created);
    let listed = alice.todos();
    assert!(listed.contains(&created));
}

#[test]
fn a_todo_has_the_members_of_the_contract_in_its_formats() {
    let server = shared();
    let mut alice = server.user("formats");
    let draft = json!({ "title": "  trimmed \t", "description": " kept as it is " });
    let todo = alice
        .ask(&post("/todos", &draft).waiting())
        .expect(201)
        .json();
    let mut names: Vec<&str> = todo
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected = [
        "id",
        "title",
        "description",
        "completed",
        "user_id",
        "created_at",
        "updated_at",
    ];
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(todo["title"], "trimmed");
    assert_eq!(todo["description"], " kept as it is ");
    assert_eq!(todo["completed"], false);
    assert_eq!(todo["user_id"], "formats");
    assert_eq!(Uuid::parse_str(id(&todo)).unwrap().get_version_num(), 7);
    assert_eq!(todo["created_at"], todo["updated_at"]);
    assert!(is_time(&todo["created_at"]), "{todo}");
}

/// RFC 3339 in UTC with six fractional digits.
fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap();
    let pattern = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    text.len() == pattern.len()
        && text
            .chars()
            .zip(pattern.chars())
            .all(|(char, like)| match like {
                'd' => char.is_ascii_digit(),
                other => char == other,
            })
}

#[test]
fn an_update_moves_its_time_and_nothing_else_that_is_the_servers() {
    let server = shared();
    let mut alice = server.user("update times");
    let old = alice.create("before");
    let path = format!("/todos/{}", id(&old));
    let draft = json!({ "title": "after", "completed": true });
    let new = alice.ask(&put(&path, &draft).waiting()).expect(200).json();
    assert_eq!(new["title"], "after");
    assert_eq!(new["completed"], true);
    for same in ["id", "user_id", "created_at"] {
        assert_eq!(new[same], old[same], "{same}");
    }
    assert!(new["updated_at"].as_str() > old["updated_at"].as_str());
    assert_eq!(alice.ask(&get(&path)).expect(200).json(), new);
}

#[test]
fn an_unknown_todo_is_404() {
    let server = shared();
    let mut anyone = server.anyone();
    for path in [
        format!("/todos/{}", Uuid::now_v7()),
        "/todos/00000000-0000-0000-0000-000000000000".to_owned(),
        "/todos/not-a-uuid".to_owned(),
    ] {
        anyone.ask(&get(&path)).problem(404);
        anyone.ask(&head(&path)).expect(404);
    }
}

#[test]
fn a_limit_is_plain_digits_from_one_to_a_million_and_given_once() {
    let server = shared();
    let mut anyone = server.anyone();
    for query in [
        "limit=0",
        "limit=-1",
        "limit=%2B1",
        "limit=+1",
        "limit=1e3",
        "limit=1.0",
        "limit=0x10",
        "limit=99999999999",
        "limit=99999999999999999999999999",
        "limit=1000001",
        "limit=abc",
        "limit=",
        "limit",
        "limit=%20",
        "limit=1%00",
        "limit=%D9%A1",
        "limit=1&limit=1",
        "limit=1&limit=2",
        "limit=1&limit=abc",
        "limit=1&limit=",
        "limit=1&limit",
    ] {
        let response = anyone.ask(&get(&format!("/todos?{query}")));
        assert_eq!(response.status, 400, "{query}");
        response.problem_about(400, "limit");
    }
    anyone.ask(&get("/todos?limit=1000000")).expect(200);
    anyone.ask(&get("/todos?limit=1")).expect(200);
}
