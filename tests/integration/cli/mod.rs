//! The command line and the environment: help, refusals, secrets, `.env`.

mod environment;
mod secrets;

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::json;

use crate::harness::{Launch, WORKER, get, post};

/// `EX_USAGE`: the configuration is wrong, and nothing was opened.
const USAGE: i32 = 64;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn help_lists_every_variable_with_its_default() {
    let output = Launch::new().run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = stdout(&output);
    for (variable, default) in [
        ("HTTP_PORT", "8080"),
        ("HTTP_HOST", "0.0.0.0"),
        ("SERVER_CORES", ""),
        ("DATA_DIR", "./data"),
        ("DATABASE_URL", ""),
        ("KAFKA_BROKERS", ""),
        ("KAFKA_GIFT_CODE_TIMEOUT", "10"),
        ("GIFT_CODE_STOCK", "0"),
        ("JWT_SECRET", ""),
        ("JWT_PUBLIC_KEY", ""),
        ("JWT_AUDIENCE", ""),
        ("JWT_ISSUER", ""),
        ("TODOS_MAX", "2000000"),
        ("BODY_LIMIT_BYTES", "65536"),
        ("HEAD_LIMIT_BYTES", "16384"),
        ("MAX_CONNECTIONS", ""),
        ("HEAD_TIMEOUT", ""),
        ("BODY_TIMEOUT", ""),
        ("IDLE_TIMEOUT", ""),
        ("WRITE_TIMEOUT", ""),
        ("SHUTDOWN_DELAY", "0s"),
        ("SHUTDOWN_GRACE", "30s"),
        ("LOG_FORMAT", ""),
        ("RUST_LOG", "info"),
    ] {
        assert!(help.contains(variable), "{variable} is not in\n{help}");
        assert!(
            help.contains(default),
            "{default} of {variable} is not in\n{help}"
        );
    }
    for subcommand in ["serve", "seed", "token", "migrate", "healthcheck"] {
        assert!(help.contains(subcommand), "{subcommand} is not in\n{help}");
    }
}

#[test]
fn help_shows_no_secret() {
    let launch = Launch::new();
    let output = launch.run(&["--help"]);
    assert!(!stdout(&output).contains(launch.secret()));
}

#[test]
fn an_unknown_subcommand_or_flag_is_a_usage_error() {
    for args in [
        &["dance"][..],
        &["--dance"],
        &["serve", "--dance"],
        &["seed", "--dance"],
    ] {
        let output = Launch::new().run(args);
        assert!(!output.status.success(), "{args:?}");
        assert!(stderr(&output).contains("dance"), "{}", stderr(&output));
    }
}

#[test]
fn a_good_configuration_is_checked_without_opening_anything() {
    let launch = Launch::new();
    let output = launch.run(&["--check-config"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!launch.data().exists());
}

#[test]
fn a_token_for_a_user_is_printed_and_works() {
    let server = Launch::new().start();
    for args in [
        &["token", "--sub", "alice"][..],
        &["token", "--sub", "alice", "--ttl", "1h"],
    ] {
        let output = server.launch().run(args);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let token = stdout(&output);
        assert_eq!(token.lines().count(), 1, "{token}");
        let request = post("/todos", &json!({ "title": "t" }))
            .with("Authorization", &format!("Bearer {}", token.trim()));
        let todo = server.anyone().ask(&request.waiting()).expect(201).json();
        assert_eq!(todo["user_id"], "alice");
    }
}

#[test]
fn a_token_that_no_server_would_take_is_not_printed() {
    let long = "u".repeat(129);
    for args in [
        &["token"][..],
        &["token", "--sub", ""],
        &["token", "--sub", &long],
        &["token", "--sub", "alice", "--ttl", "soon"],
        &["token", "--sub", "alice", "--ttl", "-1h"],
    ] {
        let output = Launch::new().run(args);
        assert!(!output.status.success(), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}: {}", stdout(&output));
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn healthcheck_tells_a_server_from_none() {
    let server = Launch::new().start();
    let port = server.address().port().to_string();
    let checking = server.launch().clone().env("HTTP_PORT", &port);
    let output = checking.run(&["healthcheck"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    server.stop();
    let output = checking.run(&["healthcheck"]);
    assert_ne!(output.status.code(), Some(0));
    assert!(!output.stderr.is_empty());
}

#[test]
fn a_worker_without_a_fleet_says_what_it_needs() {
    let output = Command::new(WORKER).env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(USAGE));
    for name in ["DATABASE_URL", "KAFKA_BROKERS"] {
        assert!(stderr(&output).contains(name), "{}", stderr(&output));
    }
}

#[test]
fn migrate_leaves_a_directory_that_serves() {
    let launch = Launch::new();
    let output = launch.run(&["migrate"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let server = launch.start();
    server.anyone().ask(&get("/todos")).expect(200);
    let mut server = server;
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(30)).success());
}
