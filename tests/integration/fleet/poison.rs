//! Records that nobody can apply, and a database that refuses for reasons of its own: the first
//! become dead letters and hold nobody up, the second makes no dead letters.

use std::iter;

use millpond::domain::{Action, Command, Timestamp};
use rand::seq::SliceRandom;
use serde_json::json;
use uuid::Uuid;

use super::audit;
use super::replay::{Ended, Replay};
use crate::harness::{Fleet, PATIENCE, Server, Worker, dice, eventually, get, post};

/// Good records to each bad one.
const GOOD: usize = 100;

fn command(user: &str, action: Action) -> Vec<u8> {
    let command = Command {
        user: user.to_owned(),
        at: Timestamp::from_micros(1_700_000_000_000_000),
        key: None,
        action,
    };
    command.encode()
}

fn create(user: &str, title: &str, description: &str) -> Vec<u8> {
    let action = Action::Create {
        id: Uuid::now_v7(),
        title: title.to_owned(),
        description: description.to_owned(),
    };
    command(user, action)
}

fn claim(user: &str, code: &str) -> Vec<u8> {
    let code = code.to_owned();
    command(user, Action::ClaimGiftCode { code })
}

/// The bytes of a good command with another text in it.
fn altered(from: &str, to: &str) -> Vec<u8> {
    let good = String::from_utf8(create("mallory", "title", "description")).unwrap();
    assert!(good.contains(from), "{from} in {good}");
    good.replace(from, to).into_bytes()
}

fn poison() -> Vec<Vec<u8>> {
    vec![
        b"not JSON".to_vec(),
        vec![],
        vec![0xff, 0x00, 0xfe],
        b"[".repeat(10_000),
        altered("\"v\":1", "\"v\":9"),
        altered("\"v\":1", "\"w\":1"),
        altered("create", "destroy"),
        altered("\"description\":\"description\"", "\"description\":7"),
        create("mallory", "NUL\0", ""),
        create("mal\0lory", "title", ""),
        create("mallory", "title", "\0"),
        create("mallory", "", ""),
        create("mallory", &"x".repeat(201), ""),
        create("mallory", "title", &"x".repeat(10_001)),
        create(&"x".repeat(129), "title", ""),
        create("mallory", "title", &"x".repeat(900_000)),
        claim("mallory", &"x".repeat(65)),
        // A command like any other, but the code is somebody's.
        claim("mallory", "GIFT-0"),
        claim("trudy", "GIFT-0"),
    ]
}

#[test]
fn poison_becomes_dead_letters_and_holds_nobody_up() {
    let mut dice = dice();
    let fleet = Fleet::new();
    let servers = [fleet.server(), fleet.server()];
    let worker = fleet.worker();
    let mut records = poison();
    // Before all that is drawn, so that it is the first to have the code.
    let first = fleet.topics.write(0, &[claim("alice", "GIFT-0")]);
    eventually("the code is alice's", PATIENCE, || {
        let target = format!("/operations/0-{}", first[0]);
        let operation = servers[0]
            .user("alice")
            .ask(&get(&target))
            .expect(200)
            .json();
        (operation["status"] == "applied").then_some(())
    });
    let good = iter::repeat_with(|| create("alice", "good", "neighbour"));
    records.extend(good.take(poison().len() * GOOD));
    records.shuffle(&mut dice);
    let (here, there) = records.split_at(records.len() / 2);
    fleet.topics.write(1, here);
    fleet.topics.write(2, there);
    fleet.drained();

    let replay = Replay::of(&fleet.topics.records());
    let dead = replay
        .ended
        .values()
        .filter(|(_, ended)| *ended == Ended::Dead);
    assert_eq!(dead.count(), poison().len());
    audit::database(&fleet, &replay);
    audit::servers(&fleet, &servers);
    told_to_their_owners(&replay, &servers);
    listed(&fleet, &replay);
    worker.stop();
}

/// Whoever wrote a command that is dead is told so, on every server.
fn told_to_their_owners(replay: &Replay, servers: &[Server]) {
    let dead = replay
        .ended
        .iter()
        .filter(|(_, (_, ended))| *ended == Ended::Dead);
    let owned = dead.filter_map(|(place, (command, _))| Some((place, command.as_ref()?)));
    let mut told = 0;
    for ((partition, offset), command) in owned {
        let target = format!("/operations/{partition}-{offset}");
        for server in servers {
            let operation = server.user(&command.user).ask(&get(&target));
            let operation = operation.expect(200).json();
            assert_eq!(operation["status"], "dead", "{operation}");
            told += 1;
        }
    }
    assert!(told > 0);
}

/// `millpond dead-letters` has them all, with reasons.
fn listed(fleet: &Fleet, replay: &Replay) {
    let output = fleet.launch.run(&["dead-letters"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let dead = replay
        .ended
        .iter()
        .filter(|(_, (_, ended))| *ended == Ended::Dead);
    for ((partition, offset), _) in dead {
        assert!(text.contains(&format!("{partition}-{offset}")), "{text}");
    }
}

#[test]
fn a_right_that_is_taken_away_makes_no_dead_letter() {
    let fleet = Fleet::new();
    let server = fleet.server();
    let mut worker = fleet.worker();
    let mut alice = server.user("alice");
    alice.create("before");
    fleet
        .database
        .execute("REVOKE INSERT, UPDATE ON todos FROM CURRENT_USER");
    let told = alice.ask(&post("/todos", &json!({ "title": "meanwhile" })));
    let told = told.expect(202);
    says_why(&mut worker);
    let operation = told.must("Location").to_owned();
    let queued = alice.ask(&get(&operation)).expect(200).json();
    assert_eq!(queued["status"], "queued", "{queued}");
    assert_eq!(alice.todos().len(), 1, "reads go on");
    fleet
        .database
        .execute("GRANT INSERT, UPDATE ON todos TO CURRENT_USER");
    assert_eq!(alice.outcome(&told)["status"], "applied");
    fleet.drained();
    let replay = Replay::of(&fleet.topics.records());
    assert_eq!(replay.todos.len(), 2);
    audit::database(&fleet, &replay);
    worker.stop();
}

/// It goes on trying, and its log says what is wrong.
fn says_why(worker: &mut Worker) {
    eventually("the worker says what is wrong", PATIENCE, || {
        assert!(worker.runs(), "{}", worker.stderr());
        worker.stderr().contains("not applied").then_some(())
    });
}
