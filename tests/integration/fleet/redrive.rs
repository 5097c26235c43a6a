//! Dead letters of a fleet that are sent again: before what was wrong is mended, after it, and by a
//! process that is killed in between.

use std::process::Output;
use std::thread;

use serde_json::{Value, json};

use crate::harness::{
    Client, Fleet, PATIENCE, Response, Server, delete, eventually, get, id, post, put,
};

const BREAK: &str = "ALTER TABLE todos ADD CONSTRAINT broken CHECK (title NOT LIKE 'bad%')";
const MEND: &str = "ALTER TABLE todos DROP CONSTRAINT broken";

fn letters(fleet: &Fleet) -> i64 {
    fleet.database.value("SELECT count(*) FROM dead_letters")
}

/// Sends all again; returns what was printed, and whether that went well.
fn redrive_all(fleet: &Fleet) -> (String, bool) {
    let Output { status, stdout, .. } = fleet.launch.run(&["redrive", "--all"]);
    assert!(status.code().is_some(), "killed");
    (String::from_utf8(stdout).unwrap(), status.success())
}

/// Sends all again and dies when they are in the log.
fn redrive_and_die(fleet: &Fleet) {
    let armed = fleet.launch.clone();
    let armed = armed.env("FAILPOINTS", "redrive::resent=return");
    let output = armed.run(&["redrive", "--all"]);
    assert_eq!(output.status.code(), None, "not killed: {output:?}");
}

#[track_caller]
fn is_dead(alice: &mut Client, told: &Response) {
    assert_eq!(alice.outcome(told)["status"], "dead");
}

/// Waits until these are the titles of all todos.
#[track_caller]
fn shows(server: &Server, titles: &[&str]) {
    eventually("the list is as it should be", PATIENCE, || {
        let list = server.anyone().todos();
        let title = |todo: &Value| todo["title"].as_str().unwrap().to_owned();
        let mut shown: Vec<String> = list.iter().map(title).collect();
        shown.sort();
        (shown == titles).then_some(())
    });
}

#[test]
fn a_letter_has_one_effect_however_often_it_is_sent_again() {
    let fleet = Fleet::new();
    let server = fleet.server();
    let worker = fleet.worker();
    let mut alice = server.user("alice");
    let old = format!("/todos/{}", id(&alice.create("old")));
    let keyed = post("/todos", &json!({ "title": "bad, keyed" })).with("Idempotency-Key", "k");

    fleet.database.execute(BREAK);
    let change = alice.ask(&put(&old, &json!({ "title": "bad change" })));
    let created = alice.ask(&post("/todos", &json!({ "title": "bad" })));
    let with_key = alice.ask(&keyed);
    fleet.topics.write(1, &[b"not JSON".to_vec()]);
    for told in [&change, &created, &with_key] {
        is_dead(&mut alice, told);
    }
    fleet.drained();
    assert_eq!(letters(&fleet), 4);

    // Nothing is mended: what dies again is a letter at another place, and the rest stays.
    let (printed, went_well) = redrive_all(&fleet);
    assert!(!went_well);
    assert_eq!(printed.matches("dead again").count(), 3, "{printed}");
    assert_eq!(
        printed.matches("left: not a command").count(),
        1,
        "{printed}"
    );
    assert_eq!(letters(&fleet), 4);
    shows(&server, &["old"]);

    fleet.database.execute(MEND);
    // Its client does not wait for anybody to send it again.
    let again = alice
        .ask(&keyed.clone().with("Prefer", "wait=10"))
        .expect(201);
    redrive_and_die(&fleet);
    fleet.drained();
    assert_eq!(letters(&fleet), 4);
    shows(&server, &["bad", "bad change", "bad, keyed"]);

    // What has happened since is not undone.
    let is_bad = |todo: &&Value| todo["title"] == "bad";
    let list = server.anyone().todos();
    let bad = format!("/todos/{}", id(list.iter().find(is_bad).unwrap()));
    let later = alice.ask(&put(&old, &json!({ "title": "later" })));
    let gone = alice.ask(&delete(&bad));
    for told in [&later, &gone] {
        assert_eq!(alice.outcome(told)["status"], "applied");
    }
    let (printed, went_well) = redrive_all(&fleet);
    assert!(!went_well, "one is no command");
    assert_eq!(printed.matches("applied").count(), 3, "{printed}");
    assert_eq!(letters(&fleet), 1);
    fleet.drained();
    for server in [server, fleet.server()] {
        shows(&server, &["bad, keyed", "later"]);
        let keyed = format!("/todos/{}", id(&again.json()));
        server.anyone().ask(&get(&keyed)).expect(200);
    }
    worker.stop();
}

#[test]
fn letters_are_sent_again_by_name_and_in_their_order() {
    let fleet = Fleet::new();
    let server = fleet.server();
    let worker = fleet.worker();
    let mut alice = server.user("alice");
    let todo = format!("/todos/{}", id(&alice.create("old")));
    fleet.database.execute(BREAK);
    let told: Vec<Response> = (0..3)
        .map(|n| alice.ask(&put(&todo, &json!({ "title": format!("bad {n}") }))))
        .collect();
    for told in &told {
        is_dead(&mut alice, told);
    }
    fleet.database.execute(MEND);
    let position = |told: &Response| told.must("Consistency-Token").to_owned();
    let first = position(&told[0]);
    let output = fleet.launch.run(&["redrive", &first, "2-99999"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "one is not there");
    assert!(
        printed.contains("there is no such dead letter"),
        "{printed}"
    );
    shows(&server, &["bad 0"]);
    let (printed, went_well) = redrive_all(&fleet);
    assert!(went_well, "{printed}");
    assert_eq!(letters(&fleet), 0);
    shows(&server, &["bad 2"]);
    assert_eq!(redrive_all(&fleet), ("no dead letters\n".to_owned(), true));
    worker.stop();
}

/// Nothing of it may be lost by a mistake in the configuration.
#[test]
fn a_log_that_is_not_the_databases_gets_no_letter() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let (worker, _) = (fleet.worker(), other.server());
    fleet.topics.write(1, &[b"not JSON".to_vec()]);
    fleet.drained();
    let missing = format!("{}-not", fleet.topics.commands);
    for topic in [&other.topics.commands, &missing] {
        let launch = fleet.launch.clone().env("KAFKA_TODO_TOPIC", topic);
        let Output { status, stderr, .. } = launch.run(&["redrive", "--all"]);
        let complaint = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(64), "{complaint}");
        assert!(complaint.contains("KAFKA_TODO_TOPIC"), "{complaint}");
    }
    assert_eq!(letters(&fleet), 1);
    assert_eq!(other.topics.ends().iter().sum::<u64>(), 0);
    worker.stop();
}

#[test]
fn two_that_send_the_same_letters_have_one_effect() {
    let fleet = Fleet::new();
    let server = fleet.server();
    let worker = fleet.worker();
    let mut alice = server.user("alice");
    fleet.database.execute(BREAK);
    for _ in 0..20 {
        let told = alice.ask(&post("/todos", &json!({ "title": "bad" })));
        is_dead(&mut alice, &told);
    }
    fleet.database.execute(MEND);
    thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| redrive_all(&fleet)));
        for one in both {
            let (printed, _) = one.join().unwrap();
            assert!(!printed.contains("rejected"), "{printed}");
        }
    });
    fleet.drained();
    assert_eq!(letters(&fleet), 0);
    shows(&server, &["bad"; 20]);
    worker.stop();
}

#[test]
fn a_role_that_may_not_remove_letters_sends_none() {
    let fleet = Fleet::new();
    let role = format!("looker_{:016x}", rand::random::<u64>());
    let tables = "refinery_schema_history, dead_letters, positions, todos, outcomes";
    fleet.database.execute(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'a password'; GRANT SELECT ON {tables} TO {role};"
    ));
    let url = fleet.database.url_as(&role, "a%20password");
    let launch = fleet.launch.clone().env("DATABASE_URL", &url);
    assert!(launch.run(&["dead-letters"]).status.success());
    let Output { status, stderr, .. } = launch.run(&["redrive", "--all"]);
    let complaint = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(64), "{complaint}");
    assert!(complaint.contains("DELETE on dead_letters"), "{complaint}");
    let revoke = format!("REVOKE SELECT ON {tables} FROM {role}; DROP ROLE {role};");
    fleet.database.execute(&revoke);
}
