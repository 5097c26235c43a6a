//! Members of the wrong type, twice, unknown, missing or out of bounds.

use serde_json::json;

use crate::harness::{Client, Request, Response, Server, get, id};
use crate::shared;

/// Sends the body as a create, or as an update of `path`.
fn send(client: &mut Client, path: &str, body: &str) -> Response {
    let method = if path == "/todos" { "POST" } else { "PUT" };
    client.ask(&Request::of(method, path).text_as_json(body).waiting())
}

/// A user with one todo, and the targets that take bodies.
fn targets(server: &Server, user: &str) -> (Client, [String; 2]) {
    let mut client = server.user(user);
    let todo = client.create("as it was");
    let path = format!("/todos/{}", id(&todo));
    (client, ["/todos".to_owned(), path])
}

/// The todo is as it was and no other came.
#[track_caller]
fn nothing_happened(client: &mut Client, path: &str) {
    let todo = client.ask(&get(path)).expect(200).json();
    assert_eq!(todo["title"], "as it was");
    let todos = client.todos();
    let mine = todos
        .iter()
        .filter(|other| other["user_id"] == todo["user_id"]);
    assert_eq!(mine.count(), 1);
}

#[test]
fn a_member_of_the_wrong_type_is_400_and_named() {
    let server = shared();
    let (mut alice, targets) = targets(&server, "wrong types");
    for target in &targets {
        for wrong in [
            "null",
            "true",
            "0",
            "1.5",
            "1e999",
            "[]",
            "[\"t\"]",
            "{}",
            "{\"a\":1}",
        ] {
            let title = format!(r#"{{"title":{wrong}}}"#);
            send(&mut alice, target, &title).problem_about(400, "title");
            let description = format!(r#"{{"title":"t","description":{wrong}}}"#);
            send(&mut alice, target, &description).problem_about(400, "description");
        }
    }
    for wrong in ["null", "0", "1", "\"true\"", "\"\"", "[]", "{}", "[true]"] {
        let completed = format!(r#"{{"title":"t","completed":{wrong}}}"#);
        send(&mut alice, &targets[1], &completed).problem_about(400, "completed");
    }
    nothing_happened(&mut alice, &targets[1]);
}

#[test]
fn a_member_given_twice_is_400_and_named() {
    let server = shared();
    let (mut alice, targets) = targets(&server, "twice");
    for target in &targets {
        for (body, name) in [
            (r#"{"title":"a","title":"b"}"#, "title"),
            (r#"{"title":"a","title":"a"}"#, "title"),
            (r#"{"title":"a","\u0074itle":"b"}"#, "title"),
            (r#"{"title":"a","description":"","title":"b"}"#, "title"),
            (
                r#"{"title":"a","description":"","description":""}"#,
                "description",
            ),
        ] {
            let response = send(&mut alice, target, body);
            assert_eq!(response.status, 400, "{body}");
            response.problem_about(400, name);
        }
    }
    let twice = r#"{"title":"a","completed":true,"completed":false}"#;
    send(&mut alice, &targets[1], twice).problem_about(400, "completed");
    nothing_happened(&mut alice, &targets[1]);
}

#[test]
fn an_unknown_member_is_400_and_named() {
    let server = shared();
    let (mut alice, targets) = targets(&server, "unknown");
    for target in &targets {
        for name in [
            "id",
            "user_id",
            "created_at",
            "Title",
            "titles",
            "__proto__",
            "x",
        ] {
            for value in ["1", "null", "\"s\"", "[{}]"] {
                let body = format!(r#"{{"title":"t","{name}":{value}}}"#);
                send(&mut alice, target, &body).problem_about(400, name);
            }
        }
        send(&mut alice, target, r#"{"title":"t","":1}"#).problem(400);
    }
    // `completed` is for updates.
    send(&mut alice, "/todos", r#"{"title":"t","completed":true}"#).problem_about(400, "completed");
    nothing_happened(&mut alice, &targets[1]);
}

#[test]
fn an_unknown_name_is_not_repeated_without_end() {
    let server = shared();
    let mut alice = server.user("long name");
    let body = format!(r#"{{"title":"t","{}":1}}"#, "n".repeat(60_000));
    let response = send(&mut alice, "/todos", &body);
    response.problem(400);
    assert!(response.body.len() < 4_096, "{} bytes", response.body.len());
}

#[test]
fn a_missing_title_is_refused_and_named() {
    let server = shared();
    let (mut alice, targets) = targets(&server, "missing");
    for target in &targets {
        for body in ["{}", r#"{"description":"d"}"#] {
            let response = send(&mut alice, target, body);
            assert!(matches!(response.status, 400 | 422), "{}", response.status);
            response.problem_about(response.status, "title");
        }
    }
    nothing_happened(&mut alice, &targets[1]);
}

#[test]
fn nul_and_lone_surrogates_are_400_and_named() {
    let server = shared();
    let (mut alice, targets) = targets(&server, "surrogates");
    for target in &targets {
        for text in [
            r"\u0000",
            r"a\u0000b",
            r"\ud800",
            r"\udbff",
            r"\udc00",
            r"\udfff",
            r"\ud800x",
            r"\ud800\u0041",
            r"\ud800\ud800",
            r"\udc00\ud800",
            r"\uD83D",
            r"\ud83d\ude00\ude00",
        ] {
            let title = format!(r#"{{"title":"{text}"}}"#);
            let response = send(&mut alice, target, &title);
            assert_eq!(response.status, 400, "{text}");
            response.problem_about(400, "title");
            let description = format!(r#"{{"title":"t","description":"{text}"}}"#);
            send(&mut alice, target, &description).problem_about(400, "description");
        }
    }
    nothing_happened(&mut alice, &targets[1]);
}

#[test]
fn a_value_out_of_bounds_is_422_and_named() {
    let server = shared();
    let (mut alice, targets) = targets(&server, "bounds");
    let long = ["x", "\u{e9}", "\u{1f600}"].map(|char| char.repeat(201));
    let titles = ["", " ", " \\t\\n\\u2003 "]
        .map(str::to_owned)
        .into_iter()
        .chain(long);
    for title in titles {
        for target in &targets {
            let response = send(&mut alice, target, &format!(r#"{{"title":"{title}"}}"#));
            assert_eq!(response.status, 422, "{title:?}");
            response.problem_about(422, "title");
        }
    }
    for char in ["x", "\u{e9}", "\u{1f600}"] {
        let body = json!({ "title": "t", "description": char.repeat(10_001) }).to_string();
        for target in &targets {
            send(&mut alice, target, &body).problem_about(422, "description");
        }
    }
    nothing_happened(&mut alice, &targets[1]);
}

#[test]
fn values_at_their_bounds_are_stored_whole() {
    let server = shared();
    let mut alice = server.user("at the bounds");
    for char in ["x", "\u{e9}", "\u{1f600}"] {
        let (title, description) = (char.repeat(200), char.repeat(10_000));
        let body = json!({ "title": format!(" {title} "), "description": description });
        let response = send(&mut alice, "/todos", &body.to_string()).expect(201);
        assert_eq!(response.json()["title"], title.as_str());
        assert_eq!(response.json()["description"], description.as_str());
    }
}
