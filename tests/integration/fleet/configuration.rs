//! What cannot work is refused with the variable's name and status 64; what may work later is waited
//! for, and said. Never a hang, never a fall-back to serving alone.

use std::net::TcpListener;
use std::process::Output;

use crate::harness::{Fleet, Launch, PATIENCE, Process, eventually, get};
use crate::services;

const USAGE: i32 = 64;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Neither a server nor a worker starts, and both say why.
#[track_caller]
fn refused(launch: &Launch, names: &[&str]) {
    let (server, worker) = (launch.run(&["serve"]), launch.run_worker());
    assert!(server.stdout.is_empty());
    for output in [server, worker] {
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(USAGE), "{names:?}: {stderr}");
        for name in names {
            assert!(stderr.contains(name), "{name} is not in {stderr}");
        }
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn half_a_fleet_is_refused() {
    let fleet = Fleet::new();
    refused(
        &fleet.launch.clone().without("KAFKA_BROKERS"),
        &["DATABASE_URL", "KAFKA_BROKERS"],
    );
    refused(
        &fleet.launch.clone().without("DATABASE_URL"),
        &["DATABASE_URL", "KAFKA_BROKERS"],
    );
}

#[test]
fn a_worker_that_is_told_of_no_fleet_is_refused() {
    let output = Launch::new().run_worker();
    assert_eq!(output.status.code(), Some(USAGE));
    assert!(
        stderr(&output).contains("DATABASE_URL"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn servers_of_a_fleet_need_a_key_that_all_of_them_have() {
    let launch = Fleet::new().launch.without("JWT_SECRET");
    let output = launch.run(&["serve"]);
    assert_eq!(output.status.code(), Some(USAGE));
    assert!(
        stderr(&output).contains("JWT_SECRET"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn values_that_cannot_work_together_are_refused() {
    let fleet = Fleet::new();
    for (name, value) in [
        ("KAFKA_MIN_INSYNC", "2"),
        ("KAFKA_PARTITIONS", "0"),
        ("KAFKA_REPLICATION", "0"),
        ("DATABASE_URL", "mysql://localhost/millpond"),
        ("DATABASE_URL", "postgres://"),
        ("KAFKA_BROKERS", " "),
        ("KAFKA_TODO_TOPIC", "no topic/name"),
        ("DB_POOL_SIZE", "0"),
    ] {
        refused(&fleet.launch.clone().env(name, value), &[name]);
    }
    let same = fleet
        .launch
        .clone()
        .env("RESULTS_TOPIC", &fleet.topics.commands);
    refused(&same, &["RESULTS_TOPIC"]);
}

#[test]
fn wrong_credentials_are_refused_and_not_shown() {
    let fleet = Fleet::new();
    let wrong = fleet.database.url_as("millpond", "hunter2");
    let launch = fleet.launch.clone().env("DATABASE_URL", &wrong);
    refused(&launch, &["DATABASE_URL"]);
    assert!(!stderr(&launch.run(&["serve"])).contains("hunter2"));
    let nobody = fleet.database.url_as("nobody", "hunter2");
    refused(
        &fleet.launch.clone().env("DATABASE_URL", &nobody),
        &["DATABASE_URL"],
    );
    let nowhere = format!("{}_not", fleet.database.url());
    refused(
        &fleet.launch.clone().env("DATABASE_URL", &nowhere),
        &["DATABASE_URL"],
    );
}

#[test]
fn a_role_without_rights_is_refused() {
    let fleet = Fleet::new();
    let role = format!("reader_{:016x}", rand::random::<u64>());
    fleet.database.execute(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'a password';
        GRANT SELECT ON refinery_schema_history TO {role};"
    ));
    let url = fleet.database.url_as(&role, "a%20password");
    refused(
        &fleet.launch.clone().env("DATABASE_URL", &url),
        &["DATABASE_URL", "todos"],
    );
    fleet.database.execute(&format!(
        "REVOKE SELECT ON refinery_schema_history FROM {role}; DROP ROLE {role};"
    ));
}

#[test]
fn a_schema_that_is_missing_too_old_or_too_new_is_refused() {
    let fleet = Fleet::unmigrated(&services::database_url(), &services::kafka_brokers());
    refused(&fleet.launch, &["DATABASE_URL", "millpond migrate"]);

    let alone = Launch::new().env("DATABASE_URL", fleet.database.url());
    let migrated = alone.run(&["migrate"]);
    assert!(migrated.status.success(), "{}", stderr(&migrated));
    let again = alone.run(&["migrate"]);
    assert!(again.status.success(), "{}", stderr(&again));

    fleet.database.execute(
        "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
        SELECT 99, 'of the future', applied_on, checksum FROM refinery_schema_history LIMIT 1",
    );
    refused(&fleet.launch, &["DATABASE_URL", "newer"]);
}

#[test]
fn topics_that_are_not_as_asked_for_are_refused() {
    let fleet = Fleet::new();
    fleet.server().stop();
    let asked = |name: &str, value: &str| fleet.launch.clone().env(name, value);
    refused(&asked("KAFKA_PARTITIONS", "5"), &["KAFKA_PARTITIONS"]);
    refused(&asked("KAFKA_REPLICATION", "3"), &["KAFKA_REPLICATION"]);
}

#[test]
fn more_copies_than_there_are_brokers_are_refused() {
    let fleet = Fleet::new().env("KAFKA_REPLICATION", "3");
    refused(&fleet.launch, &["KAFKA_REPLICATION"]);
}

/// A process that cannot reach what it needs says so, again and again, and ends when it is told.
fn waits_for(launch: &Launch, named: &str) {
    let programs = [
        ("server", launch.command(&["serve"])),
        ("worker", launch.worker_command()),
    ];
    for (name, command) in programs {
        let mut process = Process::start_unready(name, command);
        eventually("it says what it waits for", PATIENCE, || {
            assert!(process.runs(), "{}", process.stderr());
            (process.stderr().matches(named).count() >= 2).then_some(())
        });
        process.signal("TERM");
        process.wait(PATIENCE);
        assert!(
            !process.stderr().contains("panicked"),
            "{}",
            process.stderr()
        );
    }
}

/// An address where nobody answers; nobody else gets it while the listener is held.
fn silence() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn brokers_that_do_not_answer_are_waited_for() {
    let fleet = Fleet::new();
    let (listener, silent) = silence();
    waits_for(
        &fleet.launch.clone().env("KAFKA_BROKERS", &silent),
        "KAFKA_BROKERS",
    );
    drop(listener);
    waits_for(
        &fleet.launch.clone().env("KAFKA_BROKERS", &silent),
        "KAFKA_BROKERS",
    );
}

#[test]
fn a_database_that_does_not_answer_is_waited_for() {
    let fleet = Fleet::new();
    let (listener, silent) = silence();
    let url = format!("postgres://millpond@{silent}/millpond");
    waits_for(
        &fleet.launch.clone().env("DATABASE_URL", &url),
        "DATABASE_URL",
    );
    drop(listener);
    waits_for(
        &fleet.launch.clone().env("DATABASE_URL", &url),
        "DATABASE_URL",
    );
}

/// A log that is not the one that the database was fed from is a loud stop.
fn another_log(records: usize) {
    let fleet = Fleet::new();
    let server = fleet.server();
    let worker = fleet.worker();
    let mut alice = server.user("alice");
    for n in 0..10 {
        alice.create(&format!("todo {n}"));
    }
    fleet.drained();
    worker.stop();
    server.stop();
    let todos: i64 = fleet.database.value("SELECT count(*) FROM todos");
    fleet.topics.delete();
    // The topic is made anew by whoever starts.
    let server = eventually("a server starts on the new topic", PATIENCE, || {
        fleet.launch.try_start().ok()
    });
    for partition in 0..fleet.topics.partitions {
        let others = vec![b"another log".to_vec(); records];
        fleet.topics.write(partition, &others);
    }
    let output = fleet.launch.run_worker();
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&fleet.topics.commands), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(
        fleet.database.value::<i64>("SELECT count(*) FROM todos"),
        todos
    );
    let dead: i64 = fleet.database.value("SELECT count(*) FROM dead_letters");
    assert_eq!(dead, 0);
    server.anyone().ask(&get("/todos")).expect(200);
}

#[test]
fn a_log_that_ends_before_the_position_is_a_loud_stop() {
    another_log(0);
}

#[test]
fn a_log_with_other_records_at_the_position_is_a_loud_stop() {
    another_log(30);
}
