//! `Accept-Encoding`: precompressed bodies, chosen by q-value, the same content in each.

use std::io::Read;

use serde_json::json;

use super::{launch, shared};
use crate::harness::{Client, PATIENCE, Response, Server, eventually, get, head, id, post};

fn decoded(response: &Response) -> Vec<u8> {
    let body = response.body.as_slice();
    let mut plain = vec![];
    match response.header("Content-Encoding") {
        None => plain.extend(body),
        Some("gzip") => {
            // One member only: browsers ignore what follows the first.
            let mut decoder = flate2::read::GzDecoder::new(body);
            decoder.read_to_end(&mut plain).unwrap();
            let rest = decoder.into_inner();
            assert!(
                rest.is_empty(),
                "{} bytes after the gzip member",
                rest.len()
            );
        }
        Some("br") => {
            let mut body = body;
            brotli::BrotliDecompress(&mut body, &mut plain).unwrap();
        }
        Some("zstd") => plain = zstd::decode_all(body).unwrap(),
        Some(other) => panic!("nobody asked for {other}"),
    }
    plain
}

fn coded(client: &mut Client, target: &str, accept: &str) -> Response {
    let response = client
        .ask(&get(target).with("Accept-Encoding", accept))
        .expect(200);
    assert!(response.lists("Vary", "Accept-Encoding"));
    response
}

/// Asks until the answer is coded so: encodings follow the identity.
fn eventually_coded(client: &mut Client, target: &str, accept: &str, coding: &str) -> Response {
    eventually(&format!("{coding} for {target}"), PATIENCE, || {
        let response = coded(client, target, accept);
        (response.header("Content-Encoding") == Some(coding)).then_some(response)
    })
}

fn with_todos(todos: usize) -> Server {
    let launch = launch();
    launch.seed(todos);
    launch.start()
}

#[test]
fn each_coding_holds_what_identity_holds() {
    let server = with_todos(500);
    let mut anyone = server.anyone();
    for target in [
        "/todos",
        "/todos?limit=1",
        "/todos?limit=77",
        "/todos?limit=499",
    ] {
        let plain = anyone.ask(&get(target)).expect(200);
        assert_eq!(plain.header("Content-Encoding"), None);
        let gzip = eventually_coded(&mut anyone, target, "gzip", "gzip");
        assert!(decoded(&gzip) == plain.body, "{target}");
        assert!(
            gzip.body.len() < plain.body.len() || target.ends_with("=1"),
            "{target}"
        );
    }
}

#[test]
fn slow_codings_come_to_a_list_that_stays() {
    let server = with_todos(500);
    let mut anyone = server.anyone();
    let plain = anyone.ask(&get("/todos")).expect(200);
    for coding in ["br", "zstd"] {
        let response = eventually_coded(&mut anyone, "/todos", coding, coding);
        assert!(decoded(&response) == plain.body, "{coding}");
    }
}

#[test]
fn a_coding_follows_every_write() {
    let server = with_todos(50);
    let mut alice = server.user("alice");
    for n in 0..5 {
        alice.create(&format!("t{n}"));
        let gzip = eventually_coded(&mut alice, "/todos", "gzip", "gzip");
        assert!(decoded(&gzip) == alice.ask(&get("/todos")).expect(200).body);
    }
}

#[test]
fn each_coding_has_a_tag_of_its_own() {
    let server = with_todos(50);
    let mut anyone = server.anyone();
    let plain = anyone
        .ask(&get("/todos"))
        .expect(200)
        .must("ETag")
        .to_owned();
    let gzip = eventually_coded(&mut anyone, "/todos", "gzip", "gzip");
    let tag = gzip.must("ETag").to_owned();
    assert_ne!(tag, plain);
    let again = get("/todos")
        .with("Accept-Encoding", "gzip")
        .with("If-None-Match", &tag);
    let response = anyone.ask(&again).expect(304);
    assert_eq!(response.must("ETag"), tag);
    let headers = anyone
        .ask(&head("/todos").with("Accept-Encoding", "gzip"))
        .expect(200);
    assert_eq!(headers.must("Content-Encoding"), "gzip");
    assert_eq!(headers.must("Content-Length"), gzip.body.len().to_string());
}

#[test]
fn identity_is_served_where_nothing_else_is_wanted() {
    let server = with_todos(50);
    let mut anyone = server.anyone();
    eventually_coded(&mut anyone, "/todos", "gzip", "gzip");
    for accept in [
        "",
        "identity",
        "gzip;q=0",
        "gzip;q=0.000",
        "gzip; q=0, br; q=0, zstd; q=0",
        "*;q=0, identity",
        "gzip;q=0.5, identity;q=1",
        "compress, deflate",
        "gzippy",
    ] {
        let response = coded(&mut anyone, "/todos", accept);
        assert_eq!(response.header("Content-Encoding"), None, "{accept:?}");
    }
}

#[test]
fn the_highest_q_value_wins() {
    let server = with_todos(50);
    let mut anyone = server.anyone();
    for (accept, coding) in [
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-none, gzip;q=0.1", "gzip"),
        ("br;q=0, gzip;q=0.3, zstd;q=0", "gzip"),
        ("br;q=0.2, gzip;q=0.9, zstd;q=0.1", "gzip"),
        ("gzip;q=0.5, br;q=0.8", "br"),
        ("gzip;q=0.5 , zstd;q=0.501", "zstd"),
        ("identity;q=0.1, gzip;q=0.2", "gzip"),
        ("*;q=0.1, gzip;q=0, br;q=0", "zstd"),
    ] {
        eventually_coded(&mut anyone, "/todos", accept, coding);
    }
}

#[test]
fn any_accept_encoding_gets_an_answer() {
    let server = with_todos(5);
    let mut anyone = server.anyone();
    for accept in [
        "gzip;q=1.5",
        "gzip;q=-1",
        "gzip;q=abc",
        "gzip;q=",
        "gzip;;;",
        ";q=1",
        ",,,,",
        "*",
        "gzip;q=0.1234567",
        "identity;q=0",
        "*;q=0",
        &"gzip,".repeat(1_000),
    ] {
        let response = anyone.ask(&get("/todos").with("Accept-Encoding", accept));
        assert!(response.status < 500, "{accept:?}: {}", response.status);
    }
}

#[test]
fn a_single_todo_is_never_coded_so_that_its_tag_serves_if_match() {
    let server = shared();
    let mut alice = server.user("never coded");
    let draft = json!({ "title": "t", "description": "aaaa ".repeat(1_000) });
    let todo = alice
        .ask(&post("/todos", &draft).waiting())
        .expect(201)
        .json();
    let target = format!("/todos/{}", id(&todo));
    let plain = alice.ask(&get(&target)).expect(200);
    let asked = alice
        .ask(&get(&target).with("Accept-Encoding", "gzip, br, zstd"))
        .expect(200);
    assert_eq!(asked.header("Content-Encoding"), None);
    assert_eq!(asked.must("ETag"), plain.must("ETag"));
}
