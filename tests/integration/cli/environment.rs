//! Variables: a bad one is named and exits 64 before anything is opened, `.env` fills gaps.

use std::fs;
use std::net::TcpListener;

use serde_json::json;

use super::{USAGE, stderr};
use crate::harness::{Launch, get, post};

/// Starts with one bad variable, both to serve and to check only.
#[track_caller]
fn refused_naming(launch: &Launch, name: &str) {
    for args in [&["serve"][..], &[], &["--check-config"]] {
        let output = launch.run(args);
        let stderr = stderr(&output);
        assert_eq!(
            output.status.code(),
            Some(USAGE),
            "{args:?} {name}: {stderr}"
        );
        assert!(stderr.contains(name), "{name} is not named: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    assert!(!launch.data().exists(), "{name}: something was opened");
}

#[test]
fn a_bad_value_names_its_variable() {
    for (name, values) in [
        ("HTTP_PORT", &["abc", "65536", "-1", "80.5"][..]),
        ("HTTP_HOST", &["not an address", "999.1.1.1"]),
        ("SERVER_CORES", &["0", "-1", "many"]),
        ("GIFT_CODE_STOCK", &["-1", "some", "1.5"]),
        ("KAFKA_GIFT_CODE_TIMEOUT", &["-1", "soon"]),
        ("TODOS_MAX", &["-1", "all"]),
        (
            "BODY_LIMIT_BYTES",
            &["-1", "64k!", "big", "18446744073709551615"],
        ),
        ("HEAD_LIMIT_BYTES", &["-1", "big"]),
        ("MAX_CONNECTIONS", &["0", "-1", "many"]),
        ("HEAD_TIMEOUT", &["soon", "-1s", "1x"]),
        ("BODY_TIMEOUT", &["soon", "-1s"]),
        ("IDLE_TIMEOUT", &["soon", "-1s"]),
        ("WRITE_TIMEOUT", &["soon", "-1s"]),
        ("SHUTDOWN_DELAY", &["soon", "-1s"]),
        ("SHUTDOWN_GRACE", &["soon", "-1s"]),
        ("LOG_FORMAT", &["yaml"]),
        (
            "JWT_PUBLIC_KEY",
            &[
                "no PEM",
                "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            ],
        ),
        ("JWT_SECRET", &["short"]),
    ] {
        for value in values {
            let launch = Launch::new().env(name, value);
            refused_naming(&launch, name);
        }
    }
}

#[test]
fn a_set_of_keys_that_is_none_is_refused_by_name() {
    let launch = Launch::new().without("JWT_SECRET");
    let file = launch.home().join("keys.json");
    let path = file.display().to_string();
    let of_file = launch.env("JWT_JWKS_FILE", &path);
    refused_naming(&of_file, "JWT_JWKS_FILE");
    for text in [
        "",
        "{}",
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#,
    ] {
        fs::write(&file, text).unwrap();
        refused_naming(&of_file, "JWT_JWKS_FILE");
    }
    let both = of_file.env(
        "JWT_SECRET",
        "a secret of more than thirty-two bytes, for tests",
    );
    refused_naming(&both, "JWT_JWKS_FILE");
}

#[test]
fn a_secret_is_not_shown_when_it_is_refused() {
    let output = Launch::new()
        .env("JWT_SECRET", "hunter2")
        .run(&["--check-config"]);
    assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
}

const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://millpond@localhost/millpond");
const BROKERS: (&str, &str) = ("KAFKA_BROKERS", "localhost:9092");

/// Configured as a fleet, of which nothing is there: only to be checked.
fn fleet() -> Launch {
    Launch::new()
        .env(DATABASE.0, DATABASE.1)
        .env(BROKERS.0, BROKERS.1)
}

#[test]
fn half_a_fleet_is_refused_and_the_missing_half_named() {
    refused_naming(&Launch::new().env(DATABASE.0, DATABASE.1), BROKERS.0);
    for name in ["KAFKA_BROKERS", "KAFKA_BOOTSTRAP_SERVERS"] {
        refused_naming(&Launch::new().env(name, BROKERS.1), DATABASE.0);
    }
    let output = fleet().run(&["--check-config"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_bad_value_of_a_fleet_names_its_variable() {
    for (name, values) in [
        (
            "DATABASE_URL",
            &["mysql://localhost/x", "not an address"][..],
        ),
        ("DATABASE_URL_FILE", &["/nowhere/at/all"]),
        ("KAFKA_BOOTSTRAP_SERVERS", &["elsewhere:9092"]),
        ("KAFKA_TODO_TOPIC", &["", "a topic", "results"]),
        ("RESULTS_TOPIC", &["a/b", ".."]),
        ("KAFKA_PARTITIONS", &["0", "1025", "-1", "many"]),
        ("KAFKA_REPLICATION", &["0", "-1"]),
        ("KAFKA_MIN_INSYNC", &["0", "2"]),
        ("KAFKA_LINGER", &["2s", "-1s", "soon"]),
        ("DB_POOL_SIZE", &["0", "1001", "some"]),
        ("WORKER_METRICS_PORT", &["65536", "http"]),
        ("BATCH_BYTES", &["200000000"]),
        ("SHUTDOWN_DELAY", &["30s"]),
    ] {
        for value in values {
            refused_naming(&fleet().env(name, value), name_of(name, value));
        }
    }
}

/// Two topics of one name are the second one's fault.
fn name_of<'a>(name: &'a str, value: &str) -> &'a str {
    if value == "results" {
        "RESULTS_TOPIC"
    } else {
        name
    }
}

#[test]
fn the_servers_of_a_fleet_must_share_a_key() {
    refused_naming(&fleet().without("JWT_SECRET"), "JWT_SECRET");
}

#[test]
fn a_password_is_not_shown_when_its_address_is_refused() {
    for url in [
        "postgres://u:hunter2@/x?sslmode=maybe",
        "mysql://u:hunter2@h/x",
    ] {
        let output = fleet().env("DATABASE_URL", url).run(&["--check-config"]);
        assert_eq!(output.status.code(), Some(USAGE), "{url}");
        assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
    }
}

#[test]
fn a_port_that_is_taken_is_a_failure_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let Err(exited) = Launch::new().env("HTTP_PORT", &port).try_start() else {
        panic!("listens on a port that is taken");
    };
    assert_eq!(exited.status.code(), Some(1));
    let named = exited.stderr.contains(&port) || exited.stderr.contains("HTTP_PORT");
    assert!(named, "{}", exited.stderr);
}

#[test]
fn dot_env_fills_gaps_only() {
    let launch = Launch::new();
    // The environment's port is 0; that of the file could never be listened on.
    let dot_env = "# a comment\nBODY_LIMIT_BYTES=2000\nHTTP_PORT=99999\nTODOS_MAX=\"1\"\n";
    fs::write(launch.home().join(".env"), dot_env).unwrap();
    let server = launch.start();
    let mut alice = server.user("alice");
    alice
        .ask(&post("/todos", &json!({ "title": "x".repeat(2_000) })))
        .problem(413);
    alice.create("the one");
    alice
        .ask(&post("/todos", &json!({ "title": "t" })))
        .problem(507);
}

#[test]
fn a_bad_value_in_dot_env_is_named_too() {
    let launch = Launch::new();
    fs::write(launch.home().join(".env"), "TODOS_MAX=many\n").unwrap();
    refused_naming(&launch, "TODOS_MAX");
}

#[test]
fn a_flag_of_the_same_words_wins() {
    let launch = Launch::new().env("TODOS_MAX", "many");
    let output = launch.run(&["--check-config", "--todos-max", "5"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn the_defaults_need_no_configuration() {
    let launch = Launch::new().without("JWT_SECRET").without("DATA_DIR");
    let server = launch.start();
    server.anyone().ask(&get("/todos")).expect(200);
    assert!(
        launch.home().join("data").is_dir(),
        "./data is where it keeps everything"
    );
}
