//! A disk of PostgreSQL that is full, and nothing that only looks like it: its tables lie on one
//! that the test fills. What it cannot take waits, and is applied once there is room.

use rand::RngExt;
use serde_json::json;

use super::audit;
use super::replay::Replay;
use crate::harness::{Disk, Fleet, PATIENCE, Response, Stack, Worker, dice, eventually, get, post};
use crate::services;

/// Room for the tables of the schema and some hundred todos.
const DISK_BYTES: usize = 16 << 20;
/// Todos that are written while there is no room: many times what is left in pages that are there.
const MEANWHILE: usize = 30;
/// Bytes of each, near the most there may be.
const DESCRIPTION_BYTES: usize = 9_000;
/// Times that the worker tries in vain before there is room.
const ATTEMPTS: usize = 4;

/// A PostgreSQL whose tables lie on `disk`: all else that it writes does not, so that it lives on.
fn stack_on(disk: &Disk) -> Stack {
    let stack = Stack::native(&["postgres"]);
    disk.give_to_owner_of(&stack.postgres_data());
    let mut superuser = stack.superuser();
    let path = disk.path().display().to_string();
    for statement in [
        &format!("CREATE TABLESPACE small LOCATION '{path}'"),
        "GRANT CREATE ON TABLESPACE small TO millpond",
        "ALTER ROLE millpond SET default_tablespace = small",
    ] {
        superuser.batch_execute(statement).unwrap();
    }
    stack
}

#[test]
fn a_full_disk_makes_no_dead_letter() {
    let mut dice = dice();
    let disk = Disk::of(DISK_BYTES);
    let stack = stack_on(&disk);
    let fleet = Fleet::at(&stack.setting("DATABASE_URL"), &services::kafka_brokers());
    let server = fleet.server();
    let mut worker = fleet.worker();
    let mut alice = server.user("alice");
    let before = alice.create("before");
    fleet.drained();

    disk.fill();
    let mut write = |nth: usize| {
        // What cannot be compressed.
        let words = (0..DESCRIPTION_BYTES / 8).map(|_| format!("{:08x}", dice.random::<u32>()));
        let draft =
            json!({ "title": format!("todo {nth}"), "description": words.collect::<String>() });
        alice.ask(&post("/todos", &draft)).expect(202)
    };
    let told: Vec<Response> = (0..MEANWHILE).map(&mut write).collect();
    waits(&mut worker);
    let last = told[MEANWHILE - 1].must("Location").to_owned();
    let queued = alice.ask(&get(&last)).expect(200).json();
    assert_eq!(queued["status"], "queued", "{queued}");
    assert!(alice.todos().contains(&before), "reads go on");
    assert_eq!(dead_letters(&fleet), 0);
    assert!(fleet.lag().unwrap() > 0);

    disk.free();
    for told in &told {
        assert_eq!(alice.outcome(told)["status"], "applied");
    }
    fleet.drained();
    assert_eq!(database_is(&worker), "ok");
    assert_eq!(dead_letters(&fleet), 0);
    let replay = Replay::of(&fleet.topics.records());
    assert_eq!(replay.todos.len(), 1 + MEANWHILE);
    audit::database(&fleet, &replay);
    audit::servers(&fleet, &[server]);
    worker.stop();
}

/// It goes on trying, and says what is wrong.
fn waits(worker: &mut Worker) {
    eventually("the worker tries again and says why", PATIENCE, || {
        assert!(worker.runs(), "{}", worker.stderr());
        let stderr = worker.stderr();
        let lines = stderr.lines().filter(|line| line.contains("not applied"));
        let why = lines.filter(|line| line.contains("No space left on device"));
        (why.count() >= ATTEMPTS).then_some(())
    });
    assert_eq!(database_is(worker), "away");
}

fn database_is(worker: &Worker) -> String {
    let ready = worker.client().ask(&get("/ready?verbose")).json();
    ready["links"]["postgresql"].as_str().unwrap().to_owned()
}

fn dead_letters(fleet: &Fleet) -> i64 {
    fleet.database.value("SELECT count(*) FROM dead_letters")
}
