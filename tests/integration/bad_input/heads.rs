//! Request lines and header fields that are not HTTP, or not quite.

use rand::RngExt;

use super::{abuse, refused, refused_or_served};
use crate::harness::{Ended, dice};
use crate::shared;

#[test]
fn a_malformed_head_is_400() {
    let server = shared();
    for head in [
        "GET /todos HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
        "GET /todos HTTP/1.1\r\nHost: h\r\n: no name\r\n\r\n",
        "GET /todos HTTP/1.1\r\nHost: h\r\nX Y: z\r\n\r\n",
        "GET /todos HTTP/1.1\r\nHost: h\r\nX : z\r\n\r\n",
        "GET /todos HTTP/1.1\r\nHost: h\r\n(x): z\r\n\r\n",
        "GET /todos HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
        "GET /todos HTTP/1.1\r\nHost: h\r\nX\0Y: z\r\n\r\n",
        "GET /todos HTTP/1.1\r\nHost: h\r\nX: a\x01b\r\n\r\n",
        "GET /todos HTTP/1.1\r\nHost: h\r\nX: a\x7fb\r\n\r\n",
        "GET /todos HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
        "GET /todos HTTP/1.1\r\nHost: h\r\n\u{e9}: z\r\n\r\n",
        "GET\0 /todos HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /to\0dos HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /to dos HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /todos HTTP/1.1 more\r\nHost: h\r\n\r\n",
        "GET /todos HTTPS/1.1\r\nHost: h\r\n\r\n",
        "GET /todos http/1.1\r\nHost: h\r\n\r\n",
        "GET /todos HTTP/1\r\nHost: h\r\n\r\n",
        "GET /todos HTTP/1.1.1\r\nHost: h\r\n\r\n",
        "GET /todos\r\nHost: h\r\n\r\n",
        "GET\r\n\r\n",
        "G=T /todos HTTP/1.1\r\nHost: h\r\n\r\n",
        " GET /todos HTTP/1.1\r\nHost: h\r\n\r\n",
        "\tGET /todos HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /todos HTTP/1.1\r\n Host: h\r\n\r\n",
        "{\"title\":\"not even HTTP\"}\r\n\r\n",
    ] {
        refused(&server, 400, head);
    }
}

#[test]
fn what_the_standard_leaves_open_is_refused_or_served() {
    let server = shared();
    for head in [
        // A folded line (RFC 9112, 5.2).
        "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
        // Bare line feeds (2.2).
        "GET /todos?limit=1 HTTP/1.1\nHost: h\n\n",
        // More than one space in the request line (3).
        "GET  /todos?limit=1  HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET\t/todos?limit=1\tHTTP/1.1\r\nHost: h\r\n\r\n",
        // Empty lines before it (2.2).
        "\r\nGET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\n\r\n\r\nGET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\n",
        // A fragment, which no client should send.
        "GET /todos?limit=1#top HTTP/1.1\r\nHost: h\r\n\r\n",
        // Characters that should have been percent-encoded.
        "GET /todos?limit=1&x=\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /todos?limit=1&x=<>|^`{} HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /todos?limit=1&x=\"\\ HTTP/1.1\r\nHost: h\r\n\r\n",
        // An empty field value, and one of opaque bytes (5.5).
        "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nX:\r\nY: \u{e9}\u{e8}\r\n\r\n",
        // A version to come.
        "GET /todos?limit=1 HTTP/1.2\r\nHost: h\r\n\r\n",
    ] {
        refused_or_served(&server, head);
    }
}

#[test]
fn an_absolute_target_is_served() {
    let server = shared();
    for target in [
        "http://h/health",
        "http://h:80/health",
        "HTTP://h/health",
        "http://h/todos?limit=1",
    ] {
        let answers = abuse(&server, format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(answers.status(), Some(200), "{target}");
        assert!(answers.in_step);
    }
    for target in [
        "http://",
        "http:///todos",
        "://",
        "h:80",
        "ftp://h/todos",
        "http://[::1/",
    ] {
        abuse(&server, format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
    }
}

#[test]
fn connect_and_upgrade_open_no_tunnel() {
    let server = shared();
    let answers = abuse(&server, "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n");
    assert!(
        matches!(answers.status(), None | Some(400..=499)),
        "{:?}",
        answers.status()
    );
    let upgrade = "GET /health HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: ";
    for protocol in ["websocket", "h2c", "TLS/1.0"] {
        let answers = abuse(&server, format!("{upgrade}{protocol}\r\n\r\n"));
        assert_eq!(answers.status(), Some(200), "{protocol}");
    }
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let server = shared();
    let mut connection = server.connect();
    connection
        .send("GET /health HTTP/1.0\r\nHost: h\r\n\r\n")
        .unwrap();
    connection.response("GET").unwrap().expect(200);
    assert_eq!(connection.end(), Ended::Closed);

    let mut connection = server.connect();
    let kept = "GET /health HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n";
    connection.send(kept).unwrap();
    let response = connection.response("GET").unwrap().expect(200);
    if response.lists("Connection", "keep-alive") {
        connection.send(kept).unwrap();
        connection.response("GET").unwrap().expect(200);
    } else {
        assert_eq!(connection.end(), Ended::Closed);
    }
    abuse(&server, "GET /todos?limit=1 HTTP/1.0\r\n\r\n");
}

#[test]
fn other_protocols_are_turned_away() {
    let server = shared();
    for greeting in [
        &b"GET /todos\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"EHLO example.com\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let answers = abuse(&server, greeting);
        assert!(!answers.in_step, "{greeting:?}");
        assert!(
            matches!(answers.status(), None | Some(400..=499)),
            "{greeting:?}"
        );
    }
}

#[test]
fn many_small_headers_are_served_or_refused_within_the_head_limit() {
    let server = shared();
    for headers in [10, 50, 99, 100, 101, 500, 1_000] {
        let lines: Vec<String> = (0..headers).map(|n| format!("X-{n}: y\r\n")).collect();
        let lines = lines.concat();
        let head = format!("GET /health HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let status = abuse(&server, head).status();
        assert!(
            matches!(status, Some(200 | 400 | 431)),
            "{headers}: {status:?}"
        );
        assert!(
            status == Some(200) || headers > 50,
            "{headers} headers are nothing unusual"
        );
    }
}

#[test]
fn any_garbage_is_survived() {
    let server = shared();
    let mut dice = dice();
    let good = b"POST /todos?limit=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}";
    for _ in 0..300 {
        let mut bytes = good.to_vec();
        for _ in 0..dice.random_range(1..6) {
            let at = dice.random_range(0..bytes.len());
            match dice.random_range(0..3) {
                0 => bytes[at] = dice.random(),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, dice.random()),
            }
        }
        // An end that no half-read head or body can swallow.
        bytes.extend(b"\r\n\r\n");
        abuse(&server, &bytes);
    }
}
