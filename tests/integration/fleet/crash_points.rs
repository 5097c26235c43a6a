//! A worker that dies between any two steps of its work: what it had begun is completed by the next
//! one, once, and every server hears of it, although nobody writes any more.

use std::thread;

use millpond::fault::Point;
use serde_json::json;

use super::audit;
use super::replay::Replay;
use crate::harness::{Fleet, PATIENCE, Server, Worker, delete, id, post, put};

/// A worker that dies at a point leaves something for the next to clean up: these are what it may
/// find, and what it does itself.
const FIRST: &str = "worker::after-commit";

/// One write to a partition or more, of every kind, all acknowledged.
fn write(server: &Server, round: usize) {
    let mut alice = server.user("alice");
    for n in 0..3 {
        let draft = json!({ "title": format!("{round}-{n}") });
        let keyed = post("/todos", &draft).with("Idempotency-Key", &format!("{round}-{n}"));
        let created = alice.ask(&keyed).expect(202).json();
        alice.ask(&keyed).expect(202);
        let path = format!("/todos/{}", id(&created));
        let draft = json!({ "title": draft["title"], "description": "changed" });
        alice.ask(&put(&path, &draft)).expect(202);
        if n == 0 {
            alice.ask(&delete(&path)).expect(202);
            alice.ask(&put(&path, &draft)).expect(202);
        }
    }
    let mut claimer = server.user(&format!("claimer {round}"));
    let claim = post("/gift-codes", &json!({})).with("Prefer", "respond-async");
    claimer.ask(&claim).expect(202);
}

/// Starts a worker that dies at `point`, and waits until it has.
fn die_at(fleet: &Fleet, point: &str) {
    let armed = fleet
        .launch
        .clone()
        .env("FAILPOINTS", &format!("{point}=return"));
    let mut worker = Worker::start_unready(&armed);
    let status = worker.wait(PATIENCE);
    assert_eq!(
        status.code(),
        None,
        "not killed at {point}: {}",
        worker.stderr()
    );
}

fn nothing_is_lost_at(point: &str) {
    let fleet = Fleet::new();
    let server = fleet.server();
    write(&server, 0);
    die_at(&fleet, FIRST);
    write(&server, 1);
    die_at(&fleet, point);
    let worker = fleet.worker();
    fleet.drained();
    let replay = Replay::of(&fleet.topics.records());
    audit::database(&fleet, &replay);
    let servers = [server];
    audit::servers(&fleet, &servers);
    audit::operations(&replay, &servers);
    worker.stop();
}

/// All at once: most of the time each waits for the session of a dead worker to end.
#[test]
fn a_crash_between_any_two_steps_loses_and_repeats_nothing() {
    thread::scope(|scope| {
        let points = millpond::fault::POINTS.iter();
        // That one is reached by a tool: `redrive.rs` has it die there.
        let points = points.filter(|(point, _)| *point != Point::Resent);
        let points =
            points.map(|(_, point)| (point, scope.spawn(move || nothing_is_lost_at(point))));
        let points: Vec<_> = points.collect();
        let failed = points
            .into_iter()
            .filter_map(|(point, run)| run.join().err().map(|_| point));
        let failed: Vec<_> = failed.collect();
        assert!(failed.is_empty(), "{failed:?}");
    });
}
