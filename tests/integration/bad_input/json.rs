//! Bodies that claim to be JSON.

use crate::harness::{Client, Request, Response};
use crate::shared;

/// A user of whom nothing may be stored, since all of it is refused.
const USER: &str = "bad json";

fn send(client: &mut Client, body: impl Into<Vec<u8>>) -> Response {
    let request = Request::of("POST", "/todos").with("Content-Type", "application/json");
    client.ask(&request.body(body))
}

#[track_caller]
fn nothing_is_stored(client: &mut Client) {
    let todos = client.todos();
    assert!(todos.iter().all(|todo| todo["user_id"] != USER));
}

#[test]
fn what_is_not_json_is_400() {
    let server = shared();
    let mut alice = server.user(USER);
    for body in [
        "",
        " ",
        "{",
        "}",
        "{}}",
        "{\"title\"}",
        "{\"title\":}",
        "{\"title\":\"t\"",
        "{\"title\":\"t\",}",
        "{,\"title\":\"t\"}",
        "{\"title\":\"t\"}x",
        "{\"title\":\"t\"} {}",
        "{\"title\":\"t\"}\0",
        "{\"title\":\"t\"}]",
        "{'title':'t'}",
        "{title:\"t\"}",
        "{\"title\":\"t\" \"description\":\"d\"}",
        "{\"title\":\"t\"/* comment */}",
        "// comment\n{\"title\":\"t\"}",
        "{\"title\":\"line\nbreak\"}",
        "{\"title\":\"tab\tulator\"}",
        "{\"title\":\"\u{1}\"}",
        "{\"title\":\"\\x41\"}",
        "{\"title\":\"\\u12\"}",
        "{\"title\":\"\\u12G4\"}",
        "{\"title\":\"\\\"}",
        "{\"title\":NaN}",
        "{\"title\":01}",
        "{\"title\":+1}",
        "{\"title\":.5}",
        "{\"title\":tru}",
        "title=t",
        "<title>t</title>",
    ] {
        let response = send(&mut alice, body);
        assert_eq!(response.status, 400, "{body:?}: {}", response.text());
        response.problem(400);
    }
    nothing_is_stored(&mut alice);
}

#[test]
fn what_is_no_object_is_400() {
    let server = shared();
    let mut alice = server.user(USER);
    for body in [
        "null",
        "true",
        "1",
        "1e999",
        "\"title\"",
        "[]",
        "[{\"title\":\"t\"}]",
    ] {
        let response = send(&mut alice, body);
        assert_eq!(response.status, 400, "{body:?}: {}", response.text());
        response.problem(400);
    }
    nothing_is_stored(&mut alice);
}

#[test]
fn what_is_not_utf_8_is_400() {
    let server = shared();
    let mut alice = server.user(USER);
    for bytes in [
        &b"\xff"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
        b"\xe2\x82",
        b"caf\xe9",
    ] {
        let mut body = b"{\"title\":\"".to_vec();
        body.extend(bytes);
        body.extend(b"\"}");
        let response = send(&mut alice, body);
        assert_eq!(response.status, 400, "{bytes:?}: {}", response.text());
        response.problem(400);
    }
    let wide: Vec<u8> = "{\"title\":\"t\"}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    send(&mut alice, wide).problem(400);
    send(&mut alice, "\u{feff}{\"title\":\"t\"}").problem(400);
    nothing_is_stored(&mut alice);
}

#[test]
fn deep_nesting_is_400() {
    let server = shared();
    let mut alice = server.user(USER);
    for depth in [100, 1_000, 20_000] {
        let open = "[".repeat(depth);
        let close = "]".repeat(depth);
        let objects = "{\"a\":".repeat(depth);
        let braces = "}".repeat(depth);
        for body in [
            open.clone(),
            format!("{open}{close}"),
            format!("{{\"title\":{open}{close}}}"),
            format!("{{\"title\":\"t\",\"x\":{open}"),
        ] {
            let response = send(&mut alice, body);
            assert_eq!(response.status, 400, "{depth}: {}", response.text());
            response.problem(400);
        }
        let response = send(&mut alice, format!("{objects}1{braces}"));
        // Beyond the body's limit its size is what is wrong.
        assert!(matches!(response.status, 400 | 413), "{depth}");
    }
    nothing_is_stored(&mut alice);
}

#[test]
fn white_space_and_escapes_are_json() {
    let server = shared();
    let mut alice = server.user("good json");
    for (body, title) in [
        (" \t\r\n{ \"title\" :\n\"t\" }\r\n ", "t"),
        (r#"{"\u0074itle":"\u0041\n\/\\\""}"#, "A\n/\\\""),
        (r#"{"title":"\ud83d\ude00"}"#, "\u{1f600}"),
        (
            "{\"title\":\"\u{1f600} \u{e9} \u{6f22}\"}",
            "\u{1f600} \u{e9} \u{6f22}",
        ),
        (
            "{\"title\":\"\u{202e}\u{fffd}\u{10ffff}\"}",
            "\u{202e}\u{fffd}\u{10ffff}",
        ),
        (r#"{"title":"</script>\u007f"}"#, "</script>\u{7f}"),
    ] {
        let request = Request::of("POST", "/todos").text_as_json(body).waiting();
        assert_eq!(
            alice.ask(&request).expect(201).json()["title"],
            title,
            "{body}"
        );
        // What one client wrote, the list must still hand to others as JSON.
        assert!(
            alice.todos().iter().any(|todo| todo["title"] == title),
            "{body}"
        );
    }
}
