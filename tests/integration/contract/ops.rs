//! Health, readiness, metrics, the description of the API, and the page that links them.

use super::{launch, shared};
use crate::harness::{get, post};
use serde_json::json;

#[test]
fn health_and_readiness_say_ok() {
    let server = shared();
    let mut anyone = server.anyone();
    for target in ["/health", "/livez", "/ready", "/readyz"] {
        let response = anyone.ask(&get(target)).expect(200);
        assert_eq!(response.text().trim_end(), "OK", "{target}");
    }
    anyone.ask(&get("/ready?verbose")).expect(200);
}

#[test]
fn metrics_count_requests_by_handler_method_and_status() {
    let server = launch().start();
    let mut alice = server.user("alice");
    alice.create("t");
    alice.ask(&get("/todos")).expect(200);
    alice.ask(&get("/nothing")).expect(404);
    let response = alice.ask(&get("/metrics")).expect(200);
    assert!(response.must("Content-Type").starts_with("text/plain"));
    let text = response.text();
    let counted = |method: &str, status: &str| {
        let mut lines = text
            .lines()
            .filter(|line| line.starts_with("http_requests_total{"));
        lines.any(|line| {
            line.contains("handler=\"")
                && line.contains(&format!("method=\"{method}\""))
                && line.contains(&format!("status=\"{status}\""))
                && line.ends_with(" 1")
        })
    };
    assert!(counted("POST", "201"), "{text}");
    assert!(counted("GET", "200"), "{text}");
    assert!(counted("GET", "404"), "{text}");
    assert!(
        text.contains("# TYPE http_requests_total counter"),
        "{text}"
    );
    assert!(
        text.lines().any(|line| line.ends_with(" histogram")),
        "{text}"
    );
    assert!(text.contains("duration"), "{text}");
}

#[test]
fn metrics_do_not_grow_with_what_clients_invent() {
    let server = launch().start();
    let mut anyone = server.anyone();
    for n in 0..50 {
        anyone.ask(&get(&format!("/invented/{n}")));
    }
    let text = anyone.ask(&get("/metrics")).expect(200).text();
    assert!(!text.contains("invented"), "{text}");
}

#[test]
fn the_api_describes_itself() {
    let server = shared();
    let response = server.anyone().ask(&get("/openapi.json")).expect(200);
    assert_eq!(response.must("Content-Type"), "application/json");
    let document = response.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in [
        ("/todos", &["get", "post"][..]),
        ("/todos/{id}", &["get", "put", "delete"]),
        ("/gift-codes", &["post"]),
        ("/health", &["get"]),
        ("/livez", &["get"]),
        ("/ready", &["get"]),
        ("/readyz", &["get"]),
        ("/metrics", &["get"]),
        ("/dashboard", &["get"]),
        ("/docs/", &["get"]),
    ] {
        for method in methods {
            assert!(paths[path].get(method).is_some(), "{method} {path}");
        }
    }
    let operations = paths.keys().find(|path| path.starts_with("/operations/{"));
    assert!(operations.is_some(), "{:?}", paths.keys());
}

#[test]
fn the_root_names_the_service_and_links_on() {
    let server = shared();
    let text = server.anyone().ask(&get("/")).expect(200).text();
    assert!(text.to_lowercase().contains("millpond"), "{text}");
    for link in [
        "/openapi.json",
        "/health",
        "/metrics",
        "/dashboard",
        "/docs/",
    ] {
        assert!(text.contains(link), "{link} in {text}");
    }
}

#[test]
fn health_answers_while_writes_are_under_way() {
    let server = shared();
    let mut alice = server.user("health");
    for _ in 0..20 {
        alice
            .ask(&post("/todos", &json!({ "title": "t" })))
            .expect(202);
        server.anyone().ask(&get("/health")).expect(200);
    }
}
