//! After a run: the log against what its clients were told, the database against the log, and every
//! server against the database.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use flate2::read::GzDecoder;
use millpond::domain::{Action, Command, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::load::{Kind, Write};
use super::replay::{Ended, Replay, Todo};
use crate::harness::{DRAIN, Fleet, Place, Response, Server, eventually, get};

/// Operations that are looked up at each server.
const OPERATIONS_LOOKED_UP: usize = 40;

/// The commands of the log are those that clients sent: all that was acknowledged, and besides
/// them only what nobody knew of.
pub fn log(replay: &Replay, writes: &[Write]) {
    let mut found: HashMap<String, Vec<Place>> = HashMap::new();
    for (place, (command, _)) in &replay.ended {
        let command = command.as_ref().expect("only commands were written");
        found.entry(mark_of(command)).or_default().push(*place);
    }
    let mut wanted: HashMap<String, Vec<&Write>> = HashMap::new();
    for write in writes {
        wanted.entry(mark(write)).or_default().push(write);
    }
    for (mark, places) in &found {
        let writes = wanted.get(mark);
        let writes = writes.unwrap_or_else(|| panic!("nobody sent {mark}: {places:?}"));
        let durable: usize = writes.iter().map(|write| write.places().count()).sum();
        let unknown: usize = writes.iter().map(|write| write.unknown()).sum();
        let there = places.len();
        assert!(
            (durable..=durable + unknown).contains(&there),
            "{mark} is {there} times in the log: {writes:?}"
        );
    }
    for write in writes {
        for (place, ..) in write.places() {
            let there = found
                .get(&mark(write))
                .is_some_and(|all| all.contains(&place));
            assert!(
                there,
                "acknowledged and not in the log at {place:?}: {write:?}"
            );
        }
    }
}

/// By what a write is known in the log again.
fn mark(write: &Write) -> String {
    match &write.kind {
        Kind::Create | Kind::Update(_) => write.mark.clone(),
        Kind::Delete(id) => format!("delete {id} by {}", write.user),
        Kind::Claim => format!("claim by {}", write.user),
    }
}

fn mark_of(command: &Command) -> String {
    let user = &command.user;
    match &command.action {
        Action::Create { title, .. } => title.clone(),
        Action::Update { description, .. } => description.clone(),
        Action::Delete { id, .. } => format!("delete {id} by {user}"),
        Action::ClaimGiftCode { .. } => format!("claim by {user}"),
    }
}

/// What a client was told to have become of its write is what became of it.
pub fn outcomes(replay: &Replay, writes: &[Write]) {
    for write in writes {
        for (place, status, _) in write.places() {
            let (_, ended) = &replay.ended[&place];
            let expected = match (ended, &write.kind) {
                (Ended::Applied, Kind::Create) => &[201][..],
                (Ended::Applied, Kind::Delete(_)) => &[204],
                (Ended::Rejected(status), _) => &[*status],
                _ => &[200],
            };
            let fits = status.is_none_or(|status| expected.contains(&status));
            assert!(fits, "{status:?} for {ended:?} at {place:?}: {write:?}");
        }
    }
}

/// Writes to one todo stand in the log in the order in which they were acknowledged.
pub fn order(writes: &[Write]) {
    let mut by_todo: BTreeMap<&str, Vec<(u64, u64, Place)>> = BTreeMap::new();
    for write in writes {
        if let Kind::Update(id) | Kind::Delete(id) = &write.kind {
            let attempts = by_todo.entry(id).or_default();
            attempts.extend(
                write
                    .places()
                    .map(|(place, _, attempt)| (attempt.sent, attempt.ended, place)),
            );
        }
    }
    for (id, mut attempts) in by_todo {
        attempts.sort_unstable();
        for (at, (sent, _, place)) in attempts.iter().enumerate() {
            for (_, ended, before) in &attempts[..at] {
                assert_eq!(before.0, place.0, "{id} is in two partitions");
                let in_order = ended > sent || before < place;
                assert!(in_order, "{id}: {place:?} came after {before:?}");
            }
        }
    }
}

/// The database holds what the log says, once.
pub fn database(fleet: &Fleet, replay: &Replay) {
    assert_eq!(todos_in(fleet), replay.todos);
    let codes = fleet
        .database
        .rows("SELECT user_id, code FROM gift_codes", &[]);
    let codes = codes.iter().map(|row| (row.get(0), row.get(1)));
    assert_eq!(codes.collect::<BTreeMap<String, String>>(), replay.codes);
    let keys: i64 = fleet.database.value("SELECT count(*) FROM keys");
    assert_eq!(usize::try_from(keys).unwrap(), replay.keys.len());
    let dead = replay
        .ended
        .iter()
        .filter(|(_, (_, ended))| *ended == Ended::Dead);
    assert_eq!(
        places_in(fleet, "dead_letters"),
        dead.map(|(place, _)| *place).collect::<Vec<_>>()
    );
    let exceptional = replay
        .ended
        .iter()
        .filter(|(_, (_, ended))| *ended != Ended::Applied);
    assert_eq!(
        places_in(fleet, "outcomes"),
        exceptional.map(|(place, _)| *place).collect::<Vec<_>>()
    );
}

fn places_in(fleet: &Fleet, table: &str) -> Vec<Place> {
    let query = format!("SELECT partition, log_offset FROM {table} ORDER BY 1, 2");
    let rows = fleet.database.rows(&query, &[]);
    let places = rows.iter().map(|row| {
        let (partition, offset): (i32, i64) = (row.get(0), row.get(1));
        (
            u16::try_from(partition).unwrap(),
            u64::try_from(offset).unwrap(),
        )
    });
    places.collect()
}

fn todos_in(fleet: &Fleet) -> BTreeMap<Uuid, Todo> {
    let query = "SELECT id, user_id, title, description, completed, created_at, updated_at
        FROM todos";
    let rows = fleet.database.rows(query, &[]);
    let todos = rows.iter().map(|row| {
        let todo = Todo {
            user: row.get(1),
            title: row.get(2),
            description: row.get(3),
            completed: row.get(4),
            created_micros: row.get(5),
            updated_micros: row.get(6),
        };
        (row.get(0), todo)
    });
    todos.collect()
}

/// Every server has it all, and says it in the same bytes under the same tags; so does one that
/// is started now.
pub fn servers(fleet: &Fleet, servers: &[Server]) {
    let fresh = fleet.server();
    let all: Vec<&Server> = servers.iter().chain([&fresh]).collect();
    for server in &all {
        caught_up(fleet, server);
    }
    for coding in ["identity", "gzip"] {
        let first = list(all[0], coding);
        let text = match coding {
            "gzip" => {
                let mut text = vec![];
                GzDecoder::new(&first.body[..])
                    .read_to_end(&mut text)
                    .unwrap();
                text
            }
            _ => first.body.clone(),
        };
        in_order(fleet, &serde_json::from_slice::<Vec<Value>>(&text).unwrap());
        for server in &all[1..] {
            let other = list(server, coding);
            assert_eq!(other.must("ETag"), first.must("ETag"), "{coding}");
            assert!(other.body == first.body, "two servers differ in {coding}");
        }
    }
}

/// Waits until a server has reached the end of every partition.
fn caught_up(fleet: &Fleet, server: &Server) {
    let mut anyone = server.anyone();
    let ends = fleet.topics.ends().into_iter().enumerate();
    for (partition, end) in ends.filter(|(_, end)| *end > 0) {
        let token = format!("{partition}-{}", end - 1);
        let request = get("/todos?limit=1").with("Consistency-Token", &token);
        eventually("a server has caught up", DRAIN, || {
            (anyone.ask(&request).status == 200).then_some(())
        });
    }
    anyone.ask(&get("/ready")).expect(200);
}

/// The list as it is once it is coded.
fn list(server: &Server, coding: &str) -> Response {
    let request = get("/todos").with("Accept-Encoding", coding);
    eventually("the list is coded", DRAIN, || {
        let response = server.anyone().ask(&request).expect(200);
        let coded = response.header("Content-Encoding").unwrap_or("identity");
        (coded == coding).then_some(response)
    })
}

/// What is served, item by item, against the database.
fn in_order(fleet: &Fleet, served: &[Value]) {
    let mut expected: Vec<_> = todos_in(fleet).into_iter().collect();
    expected.sort_by_key(|(id, todo)| std::cmp::Reverse((todo.created_micros, *id)));
    let served: Vec<_> = served.iter().map(parsed).collect();
    assert_eq!(served, expected);
}

fn parsed(todo: &Value) -> (Uuid, Todo) {
    let text = |member: &str| todo[member].as_str().unwrap().to_owned();
    let micros = |member: &str| text(member).parse::<Timestamp>().unwrap().as_micros();
    let parsed = Todo {
        user: text("user_id"),
        title: text("title"),
        description: text("description"),
        completed: todo["completed"].as_bool().unwrap(),
        created_micros: micros("created_at"),
        updated_micros: micros("updated_at"),
    };
    (text("id").parse().unwrap(), parsed)
}

/// The latest operations are found on every server, whichever took them.
pub fn operations(replay: &Replay, servers: &[Server]) {
    let latest = replay.ended.iter().rev().take(OPERATIONS_LOOKED_UP);
    for (place, (command, ended)) in latest {
        let user = &command.as_ref().unwrap().user;
        let expected = match ended {
            Ended::Applied | Ended::Code(_) => "applied",
            Ended::Rejected(_) => "rejected",
            Ended::Dead => "dead",
        };
        for server in servers {
            let target = format!("/operations/{}-{}", place.0, place.1);
            let operation = server.user(user).ask(&get(&target)).expect(200).json();
            assert_eq!(operation["status"], expected, "{operation}");
        }
    }
}
