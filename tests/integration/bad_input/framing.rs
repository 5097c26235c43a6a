//! Where a body begins and ends: lengths and chunks that lie, and what must not be smuggled.

use super::{abuse, refused};
use crate::harness::{Server, get, id};
use crate::shared;

const USER: &str = "framing";

/// The head of a create up to the framing, with a good token.
fn create(server: &Server) -> String {
    let token = server.launch().token(USER);
    format!(
        "POST /todos HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\n"
    )
}

fn is_created(server: &Server, title: &str) -> bool {
    let todos = server.anyone().todos();
    todos.iter().any(|todo| todo["title"] == title)
}

#[test]
fn chunks_are_put_together() {
    let server = shared();
    let body = r#"{"title":"in chunks"}"#;
    let one = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let padded = format!("000{:X}\r\n{body}\r\n000\r\n\r\n", body.len());
    let extended = format!("{:x};name=\"value\"\r\n{body}\r\n0;x\r\n\r\n", body.len());
    let trailed = format!("{:x}\r\n{body}\r\n0\r\nX-Trailer: yes\r\n\r\n", body.len());
    let bytes: Vec<String> = body
        .chars()
        .map(|char| format!("1\r\n{char}\r\n"))
        .collect();
    let bytes = bytes.concat();
    for chunks in [one, padded, extended, trailed, format!("{bytes}0\r\n\r\n")] {
        let request = format!(
            "{}Transfer-Encoding: chunked\r\n\r\n{chunks}",
            create(&server)
        );
        let answers = abuse(&server, &request);
        assert_eq!(answers.status(), Some(202), "{chunks:?}");
        assert!(answers.in_step, "{chunks:?}");
    }
}

#[test]
fn malformed_chunks_are_refused_and_close() {
    let server = shared();
    for chunks in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "+2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        "2 2\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{}}\r\n0\r\n\r\n",
        "2\r\r{}\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "ffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    ] {
        let request = format!(
            "{}Transfer-Encoding: chunked\r\n\r\n{chunks}",
            create(&server)
        );
        let answers = abuse(&server, &request);
        // 408 for a chunk that promises more than ever comes.
        assert!(
            matches!(answers.status(), None | Some(400 | 408 | 413)),
            "{chunks:?}"
        );
        assert!(!answers.in_step, "{chunks:?}");
    }
    let endless = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(100_000));
    abuse(
        &server,
        format!(
            "{}Transfer-Encoding: chunked\r\n\r\n{endless}",
            create(&server)
        ),
    );
}

#[test]
fn a_malformed_length_is_refused() {
    let server = shared();
    for length in [
        "-1",
        "+2",
        "0x2",
        "2.0",
        "two",
        "",
        "2 2",
        "2;",
        "18446744073709551616",
    ] {
        let request = format!("{}Content-Length: {length}\r\n\r\n{{}}", create(&server));
        let answers = abuse(&server, &request);
        assert!(matches!(answers.status(), Some(400 | 413)), "{length:?}");
        assert!(!answers.in_step, "{length:?}");
    }
}

#[test]
fn lengths_that_differ_are_refused() {
    let server = shared();
    for lengths in [
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2\r\ncontent-length: 20",
        "Content-Length: 2, 3",
        "Content-Length: 2\r\nContent-Length: x",
    ] {
        let request = format!("{}{lengths}\r\n\r\n{{}}", create(&server));
        refused(&server, 400, &request);
        assert!(!abuse(&server, &request).in_step, "{lengths:?}");
    }
    for same in [
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2, 2",
    ] {
        abuse(&server, format!("{}{same}\r\n\r\n{{}}", create(&server)));
    }
}

#[test]
fn nothing_is_smuggled_behind_a_body_of_two_lengths() {
    let server = shared();
    let body = r#"{"title":"smuggled"}"#;
    let smuggled = format!(
        "{}Content-Length: {}\r\n\r\n{body}",
        create(&server),
        body.len()
    );
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: xchunked",
        "Content-Length: 5\r\nTransfer-Encoding: chunked, identity",
        "Content-Length: 5\r\nTransfer-Encoding: identity, chunked",
        "Content-Length: 5\r\nTransfer-Encoding:\x0bchunked",
        "Content-Length: 5\r\nTransfer-Encoding : chunked",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Content-Length: 5\r\nContent-Length: 0",
    ] {
        let head = create(&server);
        let answers = abuse(
            &server,
            format!("{head}{framing}\r\n\r\n0\r\n\r\n{smuggled}"),
        );
        assert!(
            !answers.in_step || answers.answers.len() == 2,
            "{framing:?}"
        );
        assert!(!is_created(&server, "smuggled"), "{framing:?}");
    }
}

#[test]
fn an_unknown_transfer_coding_is_refused() {
    let server = shared();
    for coding in [
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "chunked, gzip",
        "identity",
        "x",
        "",
    ] {
        let request = format!(
            "{}Transfer-Encoding: {coding}\r\n\r\n0\r\n\r\n",
            create(&server)
        );
        let answers = abuse(&server, &request);
        assert!(matches!(answers.status(), Some(400..=499)), "{coding:?}");
    }
}

#[test]
fn a_body_on_a_read_is_skipped_or_closes() {
    let server = shared();
    let todo = server.user("body on get").create("t");
    for target in [
        "/todos",
        "/todos?limit=1",
        &format!("/todos/{}", id(&todo)),
        "/health",
        "/x",
    ] {
        let expected = server.anyone().ask(&get(target)).status;
        for framed in [
            "Content-Length: 5\r\n\r\nhello",
            "Content-Length: 0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "Content-Length: 36\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: other\r\n",
        ] {
            let answers = abuse(
                &server,
                format!("GET {target} HTTP/1.1\r\nHost: h\r\n{framed}"),
            );
            let status = answers.status();
            assert!(
                status == Some(expected) || status == Some(400),
                "{target} {framed:?}"
            );
            assert_eq!(answers.answers.len(), 1, "{target} {framed:?}");
        }
    }
}

#[test]
fn only_100_continue_is_expected() {
    let server = shared();
    let body = r#"{"title":"expected"}"#;
    let length = body.len();
    for expectation in ["200-ok", "", "100-continue, x"] {
        let head = create(&server);
        let framing = format!("Expect: {expectation}\r\nContent-Length: {length}");
        abuse(&server, format!("{head}{framing}\r\n\r\n{body}"));
    }
    let mut connection = server.connect();
    let framing = format!("Expect: 100-continue\r\nContent-Length: {length}");
    connection
        .send(format!("{}{framing}\r\n\r\n", create(&server)))
        .unwrap();
    connection.response("POST").unwrap().expect(100);
    connection.send(body).unwrap();
    connection.response("POST").unwrap().expect(202);
}
