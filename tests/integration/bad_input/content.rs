//! Bodies that are not what they say: media types, codings, and bodies that are missing.

use serde_json::json;

use crate::harness::{Client, Request, Response, delete, get, id, put};
use crate::shared;

const GOOD: &str = r#"{"title":"t"}"#;

fn send(client: &mut Client, content_type: &str) -> Response {
    let request = Request::of("POST", "/todos").with("Content-Type", content_type);
    client.ask(&request.body(GOOD))
}

#[test]
fn a_body_that_is_not_json_is_415() {
    let server = shared();
    let mut alice = server.user("415");
    for content_type in [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/octet-stream",
        "application/jsonp",
        "application/json-patch",
        "application",
        "json",
        "*/*",
    ] {
        let response = send(&mut alice, content_type);
        assert_eq!(response.status, 415, "{content_type}");
        response.problem(415);
    }
    let path = format!("/todos/{}", id(&alice.create("t")));
    let update = Request::of("PUT", &path)
        .with("Content-Type", "text/plain")
        .body(GOOD);
    alice.ask(&update).problem(415);
}

#[test]
fn json_is_json_in_any_spelling() {
    let server = shared();
    let mut alice = server.user("json types");
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "APPLICATION/JSON",
        "application/json ; charset=\"utf-8\"",
    ] {
        assert_eq!(send(&mut alice, content_type).status, 202, "{content_type}");
    }
}

#[test]
fn a_media_type_that_nobody_can_tell_is_an_answer_all_the_same() {
    let server = shared();
    let mut alice = server.user("odd types");
    for content_type in [
        "",
        ";",
        "application/json;",
        "application/json,text/plain",
        "a/b/c",
    ] {
        let status = send(&mut alice, content_type).status;
        assert!(
            matches!(status, 202 | 400 | 415),
            "{content_type:?}: {status}"
        );
    }
    let untyped = Request::of("POST", "/todos").body(GOOD);
    let status = alice.ask(&untyped).status;
    assert!(matches!(status, 202 | 415), "{status}");
    let typed_twice = Request::of("POST", "/todos")
        .with("Content-Type", "text/plain")
        .with("Content-Type", "application/json")
        .body(GOOD);
    let status = alice.ask(&typed_twice).status;
    assert!(matches!(status, 202 | 400 | 415), "{status}");
}

#[test]
fn a_coded_body_is_not_taken_for_plain_json() {
    let server = shared();
    let mut alice = server.user("coded bodies");
    let request = Request::of("POST", "/todos")
        .with("Content-Encoding", "gzip")
        .text_as_json("\u{1f}\u{8b}");
    let response = alice.ask(&request);
    response.problem(415);
    assert_eq!(response.must("Accept-Encoding"), "identity");
}

#[test]
fn a_missing_body_is_400_or_415() {
    let server = shared();
    let mut alice = server.user("no body");
    let path = format!("/todos/{}", id(&alice.create("t")));
    for (method, target) in [("POST", "/todos"), ("PUT", path.as_str())] {
        let bare = alice.ask(&Request::of(method, target));
        assert!(
            matches!(bare.status, 400 | 411 | 415),
            "{method}: {}",
            bare.status
        );
        bare.problem(bare.status);
        alice
            .ask(&Request::of(method, target).text_as_json(""))
            .problem(400);
    }
}

#[test]
fn a_body_on_a_deletion_does_no_harm() {
    let server = shared();
    let mut alice = server.user("body on delete");
    let path = format!("/todos/{}", id(&alice.create("t")));
    let response = alice.ask(&delete(&path).json(&json!({ "title": "t" })).waiting());
    assert!(matches!(response.status, 204 | 400), "{}", response.status);
    server.anyone().ask(&get("/health")).expect(200);
}

#[test]
fn a_write_to_what_is_no_id_is_refused() {
    let server = shared();
    let mut alice = server.user("no ids");
    for id in [
        "x",
        "0",
        "%00",
        "00000000-0000-0000-0000-00000000000g",
        "..",
        "'",
        "\u{e9}",
    ] {
        let path = format!("/todos/{id}");
        for request in [put(&path, &json!({ "title": "t" })), delete(&path)] {
            let response = alice.ask(&request.waiting());
            assert!(
                matches!(response.status, 400 | 404),
                "{id:?}: {}",
                response.status
            );
            response.problem(response.status);
        }
    }
}
