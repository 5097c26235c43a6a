//! Services that hang, or are not those that they were: what clients are told, and that a process
//! ends within its grace all the same.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Client, Fleet, Gate, PATIENCE, Server, Stack, eventually, get, post};
use crate::services;

const GRACE: Duration = Duration::from_secs(3);
/// What starting and ending a process adds.
const MORE: Duration = Duration::from_millis(750);

/// The value of a metric.
fn metric(client: &mut Client, name: &str) -> String {
    let text = client.ask(&get("/metrics")).expect(200).text();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("{name} is not in {text}"));
    line.trim().to_owned()
}

#[track_caller]
fn ends_in_its_grace(server: &mut Server, told: Instant) {
    let status = server.wait(PATIENCE);
    let took = told.elapsed();
    assert!(took < GRACE + MORE, "after {took:?}: {}", server.stderr());
    assert_eq!(status.code(), Some(0), "{}", server.stderr());
}

#[test]
fn brokers_that_hang_do_not_outlast_the_grace() {
    let stack = Stack::up(&["kafka"], 1);
    let fleet = Fleet::at(&services::database_url(), &stack.setting("KAFKA_BROKERS"))
        .env("SHUTDOWN_GRACE", "3s");
    let mut writing = fleet.server();
    let mut reloading = fleet.server();
    let mut told_so = fleet.server();
    let mut worker = fleet.worker();
    writing.user("alice").create("before");
    fleet.drained();
    stack.signal("kafka-1", "STOP");
    // Now, while its connection to the broker still counts.
    let mut alice = told_so.user("alice");
    let lost = thread::spawn(move || alice.ask(&post("/todos", &json!({ "title": "lost" }))));

    // A write is under way.
    let mut alice = writing.user("alice");
    let write =
        thread::spawn(move || drop(alice.try_ask(&post("/todos", &json!({ "title": "t" })))));
    eventually("the write is under way", PATIENCE, || {
        (metric(&mut writing.anyone(), "log_queue_commands") == "1").then_some(())
    });
    writing.signal("TERM");
    ends_in_its_grace(&mut writing, Instant::now());
    write.join().unwrap();

    // The feed does not bring what the database has, and where it ends cannot be asked.
    fleet
        .database
        .execute("UPDATE positions SET next_offset = next_offset + 1");
    eventually("it loads anew", PATIENCE, || {
        reloading
            .stderr()
            .contains("loading the todos anew")
            .then_some(())
    });
    reloading.signal("TERM");
    ends_in_its_grace(&mut reloading, Instant::now());

    // Nobody can say what became of a write.
    let refused = lost.join().unwrap();
    assert_eq!(refused.problem(503)["outcome"], "unknown");
    let unknown = r#"log_append_failures_total{outcome="unknown"}"#;
    assert_eq!(metric(&mut told_so.anyone(), unknown), "1");
    told_so.signal("TERM");
    ends_in_its_grace(&mut told_so, Instant::now());

    let told = Instant::now();
    worker.signal("TERM");
    worker.wait(PATIENCE);
    let took = told.elapsed();
    assert!(took < GRACE + MORE, "after {took:?}: {}", worker.stderr());
}

#[test]
fn a_log_that_is_behind_the_database_stops_the_server() {
    let fleet = Fleet::new();
    // The first worker makes the positions.
    fleet.worker().stop();
    fleet
        .database
        .execute("UPDATE positions SET next_offset = 1000");
    let mut server = fleet.server();
    let refused = server
        .user("alice")
        .ask(&post("/todos", &json!({ "title": "elsewhere" })));
    assert_eq!(refused.problem(503)["outcome"], "unknown");
    let status = server.wait(PATIENCE);
    let stderr = server.stderr();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("not the log of the database"), "{stderr}");
}

#[test]
fn an_outcome_that_cannot_be_looked_up_is_a_503_and_no_guess() {
    let fleet = Fleet::new();
    let worker = fleet.worker();
    let first = fleet.server();
    let accepted = first
        .user("alice")
        .ask(&post("/todos", &json!({ "title": "t" })));
    let operation = accepted.expect(202).must("Location").to_owned();
    fleet.drained();
    // A server that starts later has no outcome in memory.
    let (role, rest) = fleet.database.url().split_once('@').unwrap();
    let (place, name) = rest.split_once('/').unwrap();
    let gate = Gate::silent_before(place);
    gate.open();
    let url = format!("{role}@{}/{name}", gate.address());
    let server = fleet.launch.clone().env("DATABASE_URL", &url).start();
    let mut alice = server.user("alice");
    let found = alice.ask(&get(&operation)).expect(200).json();
    assert_eq!(found["status"], "applied");
    gate.shut();
    let untold = alice.ask(&get(&operation));
    untold.problem_about(503, "cannot be looked up");
    assert!(!untold.must("Retry-After").is_empty());
    for (result, count) in [("found", "1"), ("failed", "1"), ("forgotten", "0")] {
        let name = format!(r#"outcome_lookups_total{{result="{result}"}}"#);
        assert_eq!(metric(&mut alice, &name), count, "{result}");
    }
    worker.stop();
}
