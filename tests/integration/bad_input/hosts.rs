//! `Host`: there, once, and well-formed.

use super::{abuse, refused};
use crate::shared;

#[test]
fn a_missing_host_is_400() {
    let server = shared();
    for target in ["/todos", "/todos?limit=1", "/health", "/nothing", "*"] {
        refused(&server, 400, format!("GET {target} HTTP/1.1\r\n\r\n"));
        refused(
            &server,
            400,
            format!("GET {target} HTTP/1.1\r\nX-Host: h\r\n\r\n"),
        );
    }
    refused(&server, 400, "GET http://h/todos HTTP/1.1\r\n\r\n");
}

#[test]
fn a_repeated_host_is_400() {
    let server = shared();
    for second in ["h", "other", ""] {
        let head = format!("GET /todos HTTP/1.1\r\nHost: h\r\nHost: {second}\r\n\r\n");
        refused(&server, 400, head);
    }
    refused(
        &server,
        400,
        "GET /todos HTTP/1.1\r\nHost: h\r\nX: y\r\nhOST: h\r\n\r\n",
    );
}

#[test]
fn a_malformed_host_is_400() {
    let server = shared();
    for host in [
        "a b",
        "a/b",
        "user@host",
        "h:80:80",
        "h:port",
        "h:-1",
        "[::1",
        "::1",
        "[::1]x",
        "http://h",
        "h?x",
        "h#x",
        "h\\x",
        "<script>",
        "\"h\"",
        "%zz",
        "\u{e9}.example",
    ] {
        refused(
            &server,
            400,
            format!("GET /todos HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        );
    }
}

#[test]
fn a_well_formed_host_is_served_whatever_it_names() {
    let server = shared();
    for host in [
        "h",
        "localhost:8080",
        "example.com",
        "EXAMPLE.com:80",
        "192.0.2.1",
        "192.0.2.1:65535",
        "[::1]",
        "[2001:db8::1]:8080",
        "a-b_c.d~e",
        "xn--caf-dma.example.",
    ] {
        let answers = abuse(
            &server,
            format!("GET /todos?limit=1 HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        );
        assert_eq!(answers.status(), Some(200), "{host}");
        assert!(answers.in_step, "{host}");
    }
}
