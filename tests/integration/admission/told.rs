//! What a client is told of the limits, and that it is true.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{limited, metric, pass_of, passed, write};
use crate::harness::redis::RedisServer;
use crate::harness::{Launch, Request, Response, get, post};

/// What a refusal says, all of which must be one story.
#[track_caller]
fn refusal(response: &Response) -> Value {
    let problem = response.problem(429);
    let kind = "https://iana.org/assignments/http-problem-types#quota-exceeded";
    assert_eq!(problem["type"], kind);
    assert_eq!(response.must("Cache-Control"), "no-store");
    let (seconds, ms) = (&problem["retry_after"], &problem["retry_after_ms"]);
    let (seconds, ms) = (seconds.as_i64().unwrap(), ms.as_i64().unwrap());
    match response.header("Retry-After") {
        None => assert_eq!((seconds, ms), (-1, -1)),
        Some(told) => {
            assert_eq!(told.parse(), Ok(seconds));
            assert_eq!(seconds, ((ms + 999) / 1_000).max(1));
        }
    }
    problem
}

#[test]
fn a_burst_passes_and_what_is_over_it_is_told_when_to_come_again() {
    let server = limited(5, 1).start();
    let mut alice = server.user("alice");
    for left in (0..5).rev() {
        let response = alice.ask(&post("/todos", &json!({ "title": "x" })));
        let response = response.expect(202);
        assert_eq!(response.must("X-RateLimit-Capacity"), "5");
        assert_eq!(response.must("X-RateLimit-Rate"), "1");
        let remaining: f64 = response.must("X-RateLimit-Remaining").parse().unwrap();
        assert!(
            (f64::from(left)..f64::from(left) + 1.0).contains(&remaining),
            "{remaining}"
        );
        assert_eq!(response.must("RateLimit-Policy"), r#""rate";q=5;w=5"#);
        assert_eq!(
            response.must("RateLimit"),
            format!(r#""rate";r={left};t=1"#)
        );
    }
    let refused = alice.ask(&post("/todos", &json!({ "title": "x" })));
    let problem = refusal(&refused);
    assert_eq!(problem["detail"], "rate limit exceeded");
    assert_eq!(problem["violated-policies"], json!(["rate"]));
    assert_eq!(refused.must("RateLimit"), r#""rate";r=0;t=1"#);
    assert!(refused.must("X-RateLimit-Remaining").starts_with("0."));

    let mut bob = server.user("bob");
    assert!(
        passed(&bob.ask(&write())),
        "another user has a bucket of his own"
    );
    assert!(metric(&mut bob, "limiter_allowed_total") >= 6);
    assert!(metric(&mut bob, r#"limiter_throttled_total{policy="rate"}"#) >= 1);
}

#[test]
fn who_waits_exactly_as_told_passes() {
    let server = limited(1, 4).start();
    let mut alice = server.user("alice");
    pass_of(&mut alice, 1);
    for _ in 0..8 {
        let refused = alice.ask(&write());
        let wait_ms = refusal(&refused)["retry_after_ms"].as_u64().unwrap();
        thread::sleep(Duration::from_millis(wait_ms));
        assert!(passed(&alice.ask(&write())));
    }
}

#[test]
fn where_waiting_does_not_help_nobody_is_told_to() {
    for (capacity, rate) in [(0, 10), (2, 0)] {
        let server = limited(capacity, rate).start();
        let mut alice = server.user("alice");
        pass_of(&mut alice, capacity as usize);
        let refused = alice.ask(&write());
        let problem = refusal(&refused);
        assert_eq!(problem["retry_after"], -1);
        assert_eq!(refused.must("RateLimit"), r#""rate";r=0"#);
    }
}

#[test]
fn admission_comes_after_the_token_and_before_the_body() {
    let server = limited(3, 0).start();
    let mut alice = server.user("alice");
    let nobody = server.anyone().ask(&write());
    assert_eq!(nobody.status, 401);
    assert!(nobody.header("RateLimit").is_none());
    let malformed = Request::of("POST", "/todos").text_as_json("{");
    for left in ["2.00", "1.00", "0.00"] {
        let response = alice.ask(&malformed).expect(400);
        assert_eq!(response.must("X-RateLimit-Remaining"), left);
    }
    refusal(&alice.ask(&malformed));
}

#[test]
fn reads_health_and_metrics_know_nothing_of_limits_unless_told_to() {
    let server = limited(1, 0).start();
    let mut alice = server.user("alice");
    pass_of(&mut alice, 2);
    for target in ["/todos", "/health", "/metrics", "/ready", "/"] {
        let response = alice.ask(&get(target)).expect(200);
        assert!(response.header("RateLimit-Policy").is_none(), "{target}");
    }
    let all = limited(2, 0).env("RATE_LIMIT_SCOPE", "all").start();
    let mut anyone = all.anyone();
    for target in ["/todos", "/todos?limit=1"] {
        let response = anyone.ask(&get(target)).expect(200);
        assert_eq!(response.must("X-RateLimit-Capacity"), "2");
    }
    refusal(&anyone.ask(&get("/todos")));
    for target in [
        "/health",
        "/metrics",
        "/dashboard",
        "/dashboard/points",
        "/ready",
    ] {
        anyone.ask(&get(target)).expect(200);
    }
}

#[test]
fn headers_come_in_the_form_that_was_asked_for() {
    for (form, x, draft) in [
        ("x", true, false),
        ("draft-11", false, true),
        ("off", false, false),
    ] {
        let server = limited(5, 5).env("RATE_LIMIT_HEADERS", form).start();
        let response = server.user("alice").ask(&write());
        assert_eq!(
            response.header("X-RateLimit-Remaining").is_some(),
            x,
            "{form}"
        );
        assert_eq!(response.header("RateLimit").is_some(), draft, "{form}");
        assert_eq!(
            response.header("RateLimit-Policy").is_some(),
            draft,
            "{form}"
        );
    }
}

#[test]
fn a_refusal_leaves_the_connection_to_the_next_request() {
    for hot_path in ["on", "off"] {
        let server = limited(1, 0).env("HOT_PATH", hot_path).start();
        let mut connection = server.connect();
        let token = format!("Bearer {}", server.launch().token("alice"));
        // The body is larger than what hyper reads at once.
        let body = json!({ "title": "x", "description": "d".repeat(9_000) });
        let create = post("/todos", &body).with("Authorization", &token);
        connection.ask(&create).unwrap().expect(202);
        for _ in 0..3 {
            let refused = connection.ask(&create).unwrap();
            refusal(&refused);
            assert!(!refused.closes(), "{hot_path}");
        }
        connection.ask(&get("/todos")).unwrap().expect(200);
        // It is answered before its body has come, which is no request then.
        let bytes = create.bytes(&connection.authority());
        let (begun, rest) = bytes.split_at(bytes.len() - 10);
        connection.send(begun).unwrap();
        refusal(&connection.response("POST").unwrap());
        connection.send(rest).unwrap();
        connection.ask(&get("/todos")).unwrap().expect(200);
        // Several in a row, of which each begins in what ends the one before.
        connection.send(begun).unwrap();
        for _ in 0..3 {
            refusal(&connection.response("POST").unwrap());
            connection.send([rest, begun].concat()).unwrap();
        }
        refusal(&connection.response("POST").unwrap());
        connection.send(rest).unwrap();
        connection.ask(&get("/todos")).unwrap().expect(200);
        // Who asks whether to send it is told so by the end of the connection.
        let expecting = create.with("Expect", "100-continue");
        let bytes = expecting.bytes(&connection.authority());
        connection.send(&bytes[..bytes.len() - 9_000]).unwrap();
        let refused = connection.response("POST").unwrap();
        refusal(&refused);
        assert!(refused.closes(), "{hot_path}");
    }
}

#[test]
fn with_all_limited_reads_pay_by_address_and_who_has_a_token_by_user() {
    let server = limited(2, 0).env("RATE_LIMIT_SCOPE", "all").start();
    let (mut alice, mut anyone) = (server.user("alice"), server.anyone());
    let todo = get("/todos/01890a5d-ac96-774b-bcce-b302099a8057");
    for _ in 0..2 {
        anyone.ask(&todo).expect(404);
        alice.ask(&get("/operations/0-0")).expect(200);
    }
    for refused in [
        anyone.ask(&todo),
        anyone.ask(&get("/todos")),
        alice.ask(&get("/operations/0-0")),
        alice.ask(&write()),
    ] {
        refusal(&refused);
    }
}

#[test]
fn a_shadow_counts_and_refuses_nothing() {
    let redis = RedisServer::start();
    let alone = limited(2, 0);
    let shared = alone.clone().env("REDIS_URL", &redis.url());
    for launch in [alone, shared] {
        let server = launch
            .env("SHADOW", "on")
            .env("INFLIGHT_SCOPE", "writes")
            .env("RATE_LIMIT_CAPACITY", "0")
            .start();
        let mut alice = server.user("alice");
        assert_eq!(pass_of(&mut alice, 6), 6);
        assert_eq!(metric(&mut alice, "limiter_shadowed_total"), 6);
        let throttled = metric(&mut alice, r#"limiter_throttled_total{policy="rate"}"#);
        assert_eq!(throttled, 0);
    }
}

#[test]
fn limits_that_cannot_work_are_refused_by_name() {
    for (variable, value) in [
        ("TB_RATE", "5000000000"),
        ("TB_CAPACITY", "2000000000"),
        ("RATE_LIMIT_SCOPE", "some"),
        ("LIMITER_TIMEOUT_MS", "0"),
        ("TRUSTED_PROXIES", "10.0.0.0/99"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,::/0"),
        ("REDIS_URL_FILE", "/none"),
        ("PROXY_PROTOCOL", "on"),
        ("REDIS_URL", "http://127.0.0.1:1"),
    ] {
        let output = Launch::new().env(variable, value).run(&["--check-config"]);
        let stderr = String::from_utf8_lossy(&output.stderr).replace("--", "");
        assert_eq!(output.status.code(), Some(64), "{variable}: {stderr}");
        let flag = variable.to_lowercase().replace('_', "-");
        assert!(
            stderr.contains(variable) || stderr.contains(&flag),
            "{variable}: {stderr}"
        );
    }
}
