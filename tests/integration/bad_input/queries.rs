//! Paths and queries: percent-encoding, parameters unknown, repeated, empty.

use super::abuse;
use crate::harness::get;
use crate::shared;

#[test]
fn an_unknown_parameter_is_refused_or_ignored() {
    let server = shared();
    let mut anyone = server.anyone();
    for query in [
        "foo=bar",
        "limit=1&foo=bar",
        "foo",
        "&",
        "=",
        "&&=&",
        "LIMIT=1",
        "limit[]=1",
    ] {
        let response = anyone.ask(&get(&format!("/todos?{query}")));
        assert!(
            matches!(response.status, 200 | 400),
            "{query}: {}",
            response.status
        );
    }
    anyone.ask(&get("/todos?")).expect(200);
}

#[test]
fn percent_encoding_in_a_query_is_decoded_or_refused() {
    let server = shared();
    let mut anyone = server.anyone();
    for query in [
        "limit=%31",
        "%6cimit=1",
        "limit=1&%6cimit=2",
        "%66oo=%zz",
        "%",
    ] {
        let response = anyone.ask(&get(&format!("/todos?{query}")));
        assert!(
            matches!(response.status, 200 | 400),
            "{query}: {}",
            response.status
        );
    }
    for query in [
        "limit=1%26limit=2",
        "limit=1;limit=2",
        "limit=%",
        "limit=%3",
        "limit=%zz",
        "limit=%00",
        "limit=%ff",
        "limit=%c0%b1",
        "limit=%ed%a0%80",
        "limit=1&after=%",
    ] {
        let response = anyone.ask(&get(&format!("/todos?{query}")));
        assert_eq!(response.status, 400, "{query}");
        response.problem(400);
    }
}

#[test]
fn percent_encoding_in_a_path_finds_no_way_around() {
    let server = shared();
    let mut anyone = server.anyone();
    for path in [
        "/%74odos",
        "/todos%2f",
        "/todos/%00",
        "/todos/%2e%2e/metrics",
        "/todos/..%2fmetrics",
        "/todos/%zz",
        "/todos/%",
        "/todos/%ff%fe",
        "/todos/'%20OR%20'1'='1",
        "/todos/;DROP%20TABLE%20todos",
        "/..",
        "/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/todos;x=y",
        "/todos/%E2%80%AE",
    ] {
        let status = anyone.ask(&get(path)).status;
        let is_todos = path == "/%74odos" && status == 200;
        assert!(is_todos || matches!(status, 400 | 404), "{path}: {status}");
    }
}

#[test]
fn parameters_where_none_are_known_do_no_harm() {
    let server = shared();
    for target in [
        "/health?x=y",
        "/ready?verbose=1&verbose=2",
        "/metrics?name=x",
        "/openapi.json?v=2",
        "/?x",
        "/todos/x?limit=1",
        "/nothing?limit=0",
    ] {
        let answers = abuse(&server, format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let status = answers.status();
        assert!(
            matches!(status, Some(200 | 400 | 404)),
            "{target}: {status:?}"
        );
        assert!(answers.in_step, "{target}");
    }
}

#[test]
fn very_many_parameters_are_one_answer() {
    let server = shared();
    let many = "limit=1&".repeat(1_000);
    let response = server.anyone().ask(&get(&format!("/todos?{many}")));
    response.problem(400);
    let strange = "a&".repeat(4_000);
    let status = server
        .anyone()
        .ask(&get(&format!("/todos?{strange}")))
        .status;
    assert!(matches!(status, 200 | 400), "{status}");
}
