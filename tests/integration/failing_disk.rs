//! A disk that fails: what was acknowledged stays, what was not is told so, and the process says
//! why it stops.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Ended, Launch, PATIENCE, Server, get, post};

/// A megabyte in blocks of 512 bytes: room for some dozens of the writes below.
const FILE_BLOCKS_MAX: u32 = 2_048;

/// Kilobytes a write, so that the limit is soon met.
const DESCRIPTION_CHARS: usize = 8_000;

/// Writers at once: a failing group has more than one write in it.
const WRITERS: usize = 4;

/// Writes of one writer, at most: many times what fits.
const WRITES_MAX: usize = 2_000;

/// How the writes ended, by title.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Accepted,
    NotEnqueued,
    /// 503 with `"outcome":"unknown"`, or no answer at all.
    Unknown,
}

fn write_until_it_fails(server: &Server, writer: usize) -> Vec<(String, Told)> {
    let mut client = server.user(&format!("writer {writer}"));
    let mut told = vec![];
    for n in 0..WRITES_MAX {
        let title = format!("{writer}-{n}");
        let draft = json!({ "title": title, "description": "x".repeat(DESCRIPTION_CHARS) });
        match client.try_ask(&post("/todos", &draft)) {
            Ok(response) if response.status == 202 => told.push((title, Told::Accepted)),
            Ok(response) => {
                let problem = response.problem(503);
                response.must("Retry-After");
                told.push(match problem["outcome"].as_str() {
                    Some("not_enqueued") => (title, Told::NotEnqueued),
                    Some("unknown") => (title, Told::Unknown),
                    _ => panic!("no outcome in {problem}"),
                });
            }
            Err(Ended::Closed | Ended::Reset) => {
                told.push((title, Told::Unknown));
                return told;
            }
            Err(ended) => panic!("{ended:?}"),
        }
    }
    told
}

#[test]
fn acknowledged_writes_survive_and_the_process_stops_by_itself() {
    let launch = Launch::new();
    let mut server = launch
        .clone()
        .file_blocks_max(Some(FILE_BLOCKS_MAX))
        .start();
    let told: HashMap<String, Told> = thread::scope(|scope| {
        let server = &server;
        let writers =
            (0..WRITERS).map(|writer| scope.spawn(move || write_until_it_fails(server, writer)));
        let writers: Vec<_> = writers.collect();
        writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect()
    });
    let accepted = told
        .values()
        .filter(|told| **told == Told::Accepted)
        .count();
    assert!(
        accepted > 10,
        "the limit was met too early to show anything"
    );
    assert!(accepted < told.len(), "the limit was never met");

    let status = server.wait(PATIENCE);
    assert!(!status.success(), "{status}");
    let stderr = server.stderr().to_lowercase();
    let says_why = ["disk", "i/o", "commit", "database"]
        .iter()
        .any(|word| stderr.contains(word));
    assert!(says_why, "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    drop(server);

    let server = launch.start();
    let mut times: HashMap<String, usize> = HashMap::new();
    for todo in server.anyone().todos() {
        let title = todo["title"].as_str().unwrap().to_owned();
        assert_eq!(
            todo["description"].as_str().unwrap().len(),
            DESCRIPTION_CHARS,
            "{title}"
        );
        *times.entry(title).or_default() += 1;
    }
    for (title, told) in &told {
        let times = times.remove(title).unwrap_or_default();
        match told {
            Told::Accepted => assert_eq!(times, 1, "{title} was accepted"),
            Told::NotEnqueued => assert_eq!(times, 0, "{title} was safe to retry"),
            Told::Unknown => assert!(times <= 1, "{title} is there {times} times"),
        }
    }
    assert!(times.is_empty(), "nobody wrote {times:?}");
}

#[test]
fn an_idle_connection_does_not_hold_a_process_that_cannot_go_on() {
    let launch = Launch::new().file_blocks_max(Some(FILE_BLOCKS_MAX));
    let mut server = launch.env("SHUTDOWN_GRACE", "30s").start();
    let mut idle = server.connect();
    idle.ask(&get("/health")).unwrap().expect(200);
    let told = write_until_it_fails(&server, 0);
    let failed = told.iter().any(|(_, told)| *told != Told::Accepted);
    assert!(failed, "the limit was never met");
    let status = server.wait(Duration::from_secs(5));
    assert!(!status.success(), "{status}");
    assert!(matches!(idle.end(), Ended::Closed | Ended::Reset));
}

#[test]
fn a_directory_that_cannot_be_written_is_a_clear_refusal() {
    let launch = Launch::new();
    let file = launch.home().join("a file");
    std::fs::write(&file, "").unwrap();
    let nowhere = file.join("data").display().to_string();
    let Err(exited) = launch.env("DATA_DIR", &nowhere).try_start() else {
        panic!("a server keeps its data below a file");
    };
    assert!(!exited.status.success());
    let named = exited.stderr.contains(&nowhere) || exited.stderr.contains("DATA_DIR");
    assert!(
        named && !exited.stderr.contains("panicked"),
        "{}",
        exited.stderr
    );
}

#[test]
fn a_data_file_that_is_no_database_is_a_clear_refusal() {
    let launch = Launch::new();
    launch.start().stop();
    let mut spoilt = 0;
    for entry in std::fs::read_dir(launch.data())
        .unwrap()
        .map(Result::unwrap)
    {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        if bytes.starts_with(b"SQLite format 3\0") {
            std::fs::write(entry.path(), "x".repeat(bytes.len())).unwrap();
            spoilt += 1;
        }
    }
    assert_eq!(spoilt, 1, "one database in {}", launch.data().display());
    let Err(exited) = launch.try_start() else {
        panic!("a server serves what is no database");
    };
    assert!(!exited.status.success());
    assert!(!exited.stderr.contains("panicked"), "{}", exited.stderr);
    assert!(!exited.stderr.is_empty());
}
