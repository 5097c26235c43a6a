//! `ETag`, `If-None-Match`, `Cache-Control`, and that HEAD says what GET says.

use super::launch;
use crate::harness::{Client, Request, Response, Server, delete, get, head, id};

fn tag(client: &mut Client, target: &str) -> String {
    let response = client.ask(&get(target)).expect(200);
    let tag = response.must("ETag").to_owned();
    assert!(
        tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2,
        "{tag} is not strong"
    );
    tag
}

/// A list that nobody else writes to, and the targets that a cache would keep.
fn cacheable() -> (Server, Vec<String>) {
    let server = launch().start();
    let mut alice = server.user("alice");
    for n in 0..4 {
        alice.create(&format!("t{n}"));
    }
    let todos = alice.todos();
    let targets = vec![
        "/todos".to_owned(),
        "/todos?limit=2".to_owned(),
        format!("/todos?limit=2&after={}", id(&todos[0])),
        format!("/todos/{}", id(&todos[1])),
    ];
    (server, targets)
}

#[test]
fn what_matches_is_not_sent_again() {
    let (server, targets) = cacheable();
    let mut anyone = server.anyone();
    for target in &targets {
        let tag = tag(&mut anyone, target);
        for matching in [
            tag.clone(),
            format!("W/{tag}"),
            "*".to_owned(),
            format!(r#""other", {tag}"#),
            format!(r#""other",W/{tag} , "more""#),
            format!(r#"W/"a,b", {tag}"#),
        ] {
            let request = get(target).with("If-None-Match", &matching);
            let response = anyone.ask(&request);
            assert_eq!(response.status, 304, "{target} {matching}");
            assert_eq!(response.must("ETag"), tag);
            assert_eq!(response.header("Cache-Control"), Some("no-cache"));
            let request = head(target).with("If-None-Match", &matching);
            anyone.ask(&request).expect(304);
        }
        for other in [r#""other""#, r#"W/"other""#, tag.trim_matches('"'), "", ","] {
            let request = get(target).with("If-None-Match", other);
            let response = anyone.ask(&request);
            assert_eq!(response.status, 200, "{target} {other:?}");
        }
    }
}

#[test]
fn several_lines_of_if_none_match_are_one_list() {
    let (server, targets) = cacheable();
    let mut anyone = server.anyone();
    for target in &targets {
        let tag = tag(&mut anyone, target);
        let request = get(target)
            .with("If-None-Match", r#""other""#)
            .with("If-None-Match", &tag);
        anyone.ask(&request).expect(304);
    }
}

#[test]
fn a_304_says_what_the_list_varies_by() {
    let (server, _) = cacheable();
    let request = get("/todos").with("If-None-Match", "*");
    let response = server.anyone().ask(&request).expect(304);
    assert!(response.lists("Vary", "Accept-Encoding"));
}

#[test]
fn a_tag_changes_with_its_representation_and_only_then() {
    let (server, _) = cacheable();
    let mut alice = server.user("alice");
    let (all, two) = (tag(&mut alice, "/todos"), tag(&mut alice, "/todos?limit=2"));
    assert_ne!(all, two);
    let oldest = alice.todos().pop().unwrap();
    alice
        .ask(&delete(&format!("/todos/{}", id(&oldest))).waiting())
        .expect(204);
    assert_ne!(tag(&mut alice, "/todos"), all);
    assert_eq!(tag(&mut alice, "/todos?limit=2"), two);
}

#[test]
fn the_same_data_has_the_same_tags_after_a_restart() {
    let (server, targets) = cacheable();
    let tags = |server: &Server| {
        let mut anyone = server.anyone();
        let tags = targets.iter().map(|target| tag(&mut anyone, target));
        tags.collect::<Vec<_>>()
    };
    let before = tags(&server);
    let server = server.kill().start();
    assert_eq!(tags(&server), before);
}

#[test]
fn lists_and_todos_are_cacheable_by_revalidation() {
    let (server, targets) = cacheable();
    let mut anyone = server.anyone();
    for target in &targets {
        let response = anyone.ask(&get(target)).expect(200);
        assert_eq!(response.must("Cache-Control"), "no-cache", "{target}");
        let is_list = !target.starts_with("/todos/");
        assert!(
            !is_list || response.lists("Vary", "Accept-Encoding"),
            "{target}"
        );
    }
}

/// Headers apart from those of the moment.
fn lasting(response: &Response) -> Vec<(String, String)> {
    let passing = ["date", "x-request-id"];
    let headers = response.headers.iter().cloned();
    let lower = headers.map(|(name, value)| (name.to_lowercase(), value));
    lower
        .filter(|(name, _)| !passing.contains(&name.as_str()))
        .collect()
}

#[test]
fn head_says_what_get_says() {
    let (server, mut targets) = cacheable();
    for target in [
        "/",
        "/health",
        "/livez",
        "/ready",
        "/readyz",
        "/openapi.json",
    ] {
        targets.push(target.to_owned());
    }
    targets.push("/todos?limit=0".to_owned());
    targets.push("/nothing".to_owned());
    let mut anyone = server.anyone();
    for target in &targets {
        let request_for = |method| Request::of(method, target).with("X-Request-Id", "same");
        let got = anyone.ask(&request_for("GET"));
        let head = anyone.ask(&request_for("HEAD"));
        assert_eq!(head.status, got.status, "{target}");
        assert_eq!(lasting(&head), lasting(&got), "{target}");
        assert_eq!(
            head.must("Content-Length"),
            got.body.len().to_string(),
            "{target}"
        );
    }
}

#[test]
fn a_head_that_matches_is_304_without_a_length() {
    let (server, targets) = cacheable();
    let mut anyone = server.anyone();
    for target in &targets {
        let tag = tag(&mut anyone, target);
        for method in ["HEAD", "GET"] {
            let request = Request::of(method, target).with("If-None-Match", &tag);
            let response = anyone.ask(&request).expect(304);
            let length = response.header("Content-Length");
            assert_eq!(length, None, "{method} {target}");
        }
    }
}
