//! Dead letters of a process alone: listed beside a server, sent again without one.

use std::process::Output;

use rusqlite::Connection;
use serde_json::json;

use crate::harness::{Launch, Server, post};

fn change(launch: &Launch, statement: &str) {
    let database = Connection::open(launch.data().join("millpond.db")).unwrap();
    database.execute_batch(statement).unwrap();
}

fn run(launch: &Launch, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = launch.run(arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A server with a dead letter of alice's and one of bob's.
fn with_two_letters(launch: &Launch) -> Server {
    drop(launch.start().stop());
    change(
        launch,
        "CREATE TRIGGER broken BEFORE INSERT ON todos WHEN new.title LIKE 'bad%'
         BEGIN SELECT RAISE(ABORT, 'no bad ones'); END",
    );
    let server = launch.start();
    for user in ["alice", "bob"] {
        let mut user = server.user(user);
        let told = user.ask(&post("/todos", &json!({ "title": "bad" })));
        assert_eq!(user.outcome(&told)["status"], "dead");
    }
    server
}

#[test]
fn letters_are_listed_beside_a_server_and_sent_again_without_one() {
    let launch = Launch::new();
    let server = with_two_letters(&launch);
    let (code, printed, _) = run(&launch, &["dead-letters"]);
    assert_eq!(code, Some(0));
    assert_eq!(printed.matches("no bad ones").count(), 2, "{printed}");
    let (code, printed, _) = run(&launch, &["dead-letters", "--position", "0-1"]);
    assert_eq!(code, Some(0));
    assert!(
        printed.contains("bob") && printed.contains("create"),
        "{printed}"
    );
    let (code, _, complaint) = run(&launch, &["redrive", "--all"]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("another process has it"), "{complaint}");

    server.stop();
    change(&launch, "DROP TRIGGER broken");
    let armed = launch.clone().env("FAILPOINTS", "redrive::resent=return");
    assert_eq!(run(&armed, &["redrive", "--all"]).0, None, "not killed");
    let (code, printed, complaint) = run(&launch, &["redrive", "0-1"]);
    assert_eq!(code, Some(0), "{complaint}");
    assert!(
        printed.contains("0-1") && printed.contains("applied"),
        "{printed}"
    );
    let (_, printed, _) = run(&launch, &["dead-letters"]);
    assert!(
        printed.contains("alice") && !printed.contains("bob"),
        "{printed}"
    );
    assert_eq!(run(&launch, &["redrive", "--all"]).0, Some(0));
    let (code, printed, _) = run(&launch, &["redrive", "--all"]);
    assert_eq!((code, printed.as_str()), (Some(0), "no dead letters\n"));

    let server = launch.start();
    let mut users: Vec<String> = Vec::new();
    for todo in server.anyone().todos() {
        assert_eq!(todo["title"], "bad");
        users.push(todo["user_id"].as_str().unwrap().to_owned());
    }
    users.sort();
    assert_eq!(users, ["alice", "bob"]);
}

#[test]
fn what_to_send_again_has_to_be_said() {
    let launch = Launch::new();
    for arguments in [
        &["redrive"][..],
        &["redrive", "--all", "0-1"],
        &["redrive", "1"],
    ] {
        let (code, _, complaint) = run(&launch, arguments);
        assert_eq!(code, Some(64), "{complaint}");
    }
    for arguments in [&["dead-letters"][..], &["redrive", "--all"]] {
        let (code, _, complaint) = run(&launch, arguments);
        assert_eq!(code, Some(1), "there is no database");
        assert!(complaint.contains("millpond.db"), "{complaint}");
    }
    assert!(!launch.data().exists());
}
