//! OPTIONS, 405 and 404.

use super::shared;
use crate::harness::{Connection, Request, Response, get, options};

const TODO: &str = "/todos/01890a5d-ac96-774b-bcce-b302099a8057";

/// What each resource allows, OPTIONS apart.
const RESOURCES: [(&str, &[&str]); 13] = [
    ("/todos", &["GET", "HEAD", "POST"]),
    (TODO, &["DELETE", "GET", "HEAD", "PUT"]),
    ("/operations/0-0", &["GET", "HEAD"]),
    ("/gift-codes", &["POST"]),
    ("/health", &["GET", "HEAD"]),
    ("/livez", &["GET", "HEAD"]),
    ("/ready", &["GET", "HEAD"]),
    ("/metrics", &["GET", "HEAD"]),
    ("/openapi.json", &["GET", "HEAD"]),
    ("/dashboard", &["GET", "HEAD"]),
    ("/docs/", &["GET", "HEAD"]),
    ("/dashboard/points", &["GET", "HEAD"]),
    ("/", &["GET", "HEAD"]),
];

/// The methods of `Allow`, sorted; whether OPTIONS names itself is a matter of taste.
fn allowed(response: &Response) -> Vec<&str> {
    let methods = response.must("Allow").split(',').map(str::trim);
    let mut methods: Vec<&str> = methods.filter(|method| *method != "OPTIONS").collect();
    methods.sort_unstable();
    methods
}

#[test]
fn options_says_what_is_allowed() {
    let server = shared();
    let mut alice = server.user("options");
    for (target, methods) in RESOURCES {
        let response = alice.ask(&options(target));
        assert!(
            matches!(response.status, 200 | 204),
            "{target}: {}",
            response.status
        );
        assert_eq!(allowed(&response), methods, "{target}");
    }
}

#[test]
fn another_method_is_405_and_says_what_is_allowed() {
    let server = shared();
    let mut alice = server.user("405");
    for (target, methods) in RESOURCES {
        for method in [
            "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "get",
        ] {
            if methods.contains(&method) {
                continue;
            }
            let response = alice.ask(&Request::of(method, target));
            assert_eq!(response.status, 405, "{method} {target}");
            assert_eq!(allowed(&response), methods, "{method} {target}");
            if method != "HEAD" {
                response.problem(405);
            }
        }
    }
}

#[test]
fn an_unknown_path_is_404() {
    let server = shared();
    let mut anyone = server.anyone();
    for target in [
        "/nothing",
        "/todo",
        "/todos/",
        "/todoss",
        "/TODOS",
        "//todos",
        "/todos//",
        "/operations",
        "/gift-codes/1",
        "/health/",
        "/favicon.ico",
        "/.env",
        "/todos/../health",
    ] {
        let response = anyone.ask(&get(target));
        assert_eq!(response.status, 404, "{target}");
        response.problem(404);
    }
}

#[test]
fn options_of_the_server_as_a_whole_is_answered() {
    let server = shared();
    let mut connection: Connection = server.connect();
    let response = connection.ask(&options("*")).unwrap();
    assert!(response.status < 500, "{}", response.status);
    connection.ask(&get("/health")).unwrap().expect(200);
}
